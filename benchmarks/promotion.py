"""How often `polserve promote` errs: its own decision on simulated pairs of policies whose true returns are known.

Returns are drawn from distributions of realistic spread, by the thousand pairs: equal policies, which the rule *better*
should leave alone; a candidate 10 % better, which it should promote; for *not-worse*, equal policies again, and a
candidate worse by the whole margin, which it should refuse.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.tables import finish, options, show
from polserve.training.evaluation.comparison import compare
from polserve.training.promotion.decision import Criteria, DecisionKind, Rule, decide

GAP = 0.10
"""The part by which a candidate is better."""
MOST_FALSE, LEAST_TRUE = 0.05, 0.9
"""Shares that the rule *better* may promote of the equal pairs, and must promote of those with a gap."""
CHUNK = 50
"""Pairs that a process takes at once."""
MS_PACMAN_MEAN, MS_PACMAN_SD = 2_200.0, 480.0
"""Mean and standard deviation of the returns of a policy that was trained for long (docs/promotion.md)."""
OURS_MEAN, OURS_SD = 1_556.0, 456.0
"""Mean and standard deviation of the returns of a Ms. Pac-Man policy that scored 1,556 over 100 games."""

Returns = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """A distribution of returns, as the quantile function of one of mean `mean`."""

    name: str
    title: str
    quantile: Callable[[Returns], Returns]
    correlation: float = 0.0
    """Correlation of the two games of a seed, as normal scores."""
    is_claimed: bool = True
    """Whether the figures that are stated must hold here: the spread is that of the game."""
    ceiling: float = np.inf
    """The most that a game can return."""

    def draw(self, rng: np.random.Generator, n: int, gap: float) -> tuple[Returns, Returns]:
        """Draw returns (n,) of a candidate whose true return is 1 + `gap` times the champion's, and of the champion."""
        shared = rng.normal(size=n) * np.sqrt(self.correlation)
        scores = shared + rng.normal(size=(2, n)) * np.sqrt(1 - self.correlation)
        ours, theirs = self.quantile(stats.norm.cdf(scores))
        return np.minimum(ours * (1 + gap), self.ceiling), np.minimum(theirs, self.ceiling)


def gamma(mean: float, sd: float) -> Callable[[Returns], Returns]:
    """Skewed as scores are: none below zero, a tail above."""
    shape = (mean / sd) ** 2
    return stats.gamma(shape, scale=mean / shape).ppf


def heavy(mean: float, sd: float) -> Callable[[Returns], Returns]:
    """Student's t with three degrees of freedom: outliers at both ends."""
    return stats.t(3, loc=mean, scale=sd / np.sqrt(3)).ppf


NORMAL = stats.norm(MS_PACMAN_MEAN, MS_PACMAN_SD).ppf
SCENARIOS = (
    Scenario("normal", "normal, SD 22 %", NORMAL),
    Scenario("normal_paired", "the same, seeds correlated by 0.5", NORMAL, correlation=0.5),
    Scenario("skewed", "gamma, SD 29 %, as a Ms. Pac-Man policy", gamma(OURS_MEAN, OURS_SD)),
    Scenario("heavy", "Student's t(3), SD 29 %", heavy(OURS_MEAN, OURS_SD)),
    Scenario("wide", "gamma, SD 60 %", gamma(OURS_MEAN, 0.6 * OURS_MEAN), is_claimed=False),
    Scenario("ceiling", "gamma, SD 29 %, a fifth of the games at a ceiling", gamma(400.0, 116.0), 0.0, False, 500.0),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@dataclass(frozen=True)
class Trial:
    """Pairs that are simulated: where, with which true gap, and how many games each policy plays."""

    scenario: str
    gap: float
    episodes: int

    def promoted(self, seed: int) -> Counter[Rule]:
        """Count the pairs that each rule promotes, of `CHUNK`."""
        rng, found = np.random.default_rng(seed), Counter[Rule]()
        for _ in range(CHUNK):
            comparison = compare(*BY_NAME[self.scenario].draw(rng, self.episodes, self.gap))
            found.update(rule for rule in Rule if decide(comparison, Criteria(rule))[0] is DecisionKind.PROMOTED)
        return found


def rates(trial: Trial, pairs: int, pool: ProcessPoolExecutor) -> dict[Rule, float]:
    """Return the parts of the pairs that each rule promotes."""
    chunks = range(pairs // CHUNK)
    total = sum(pool.map(trial.promoted, chunks), Counter[Rule]())
    return {rule: total[rule] / (CHUNK * len(chunks)) for rule in Rule}


def main() -> None:
    """Simulate every scenario on all cores."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2_000, help=f"simulated pairs of each kind, in steps of {CHUNK}")
    parser.add_argument("--episodes", type=int, default=Criteria().episodes, help="games of each policy")
    arguments = parser.parse_args()
    pairs, margin = CHUNK if arguments.quick else arguments.pairs, Criteria().margin
    gaps = {"equal": 0.0, "gap": GAP, "margin": -margin}
    started = time.monotonic()
    with ProcessPoolExecutor() as pool:
        found = {
            (scenario.name, name): rates(Trial(scenario.name, gap, arguments.episodes), pairs, pool)
            for scenario in SCENARIOS
            for name, gap in gaps.items()
        }
    asked = ((Rule.BETTER, "equal"), (Rule.BETTER, "gap"), (Rule.NOT_WORSE, "equal"), (Rule.NOT_WORSE, "margin"))
    show(
        f"promoted of {pairs:,} pairs, {arguments.episodes} games each, in {time.monotonic() - started:.0f} s",
        ("returns", "better: equal", f"better: +{GAP:.0%}", "not-worse: equal", f"not-worse: -{margin:.0%}"),
        [(each.title, *(f"{found[each.name, gap][rule]:.1%}" for rule, gap in asked)) for each in SCENARIOS],
    )
    claimed = [scenario.name for scenario in SCENARIOS if scenario.is_claimed]
    false_promotions = max(found[name, "equal"][Rule.BETTER] for name in BY_NAME)
    true_promotions = min(found[name, "gap"][Rule.BETTER] for name in claimed)
    each = {f"{name}_{rule.name.lower()}_{gap}": found[name, gap][rule] for name in BY_NAME for rule, gap in asked}
    finish(
        {
            "pairs": pairs,
            "episodes": arguments.episodes,
            "false_promotions": false_promotions,
            "true_promotions": true_promotions,
            "false_promotions_not_worse": max(found[name, "margin"][Rule.NOT_WORSE] for name in BY_NAME),
            **each,
        },
        as_json=arguments.json,
    )
    if not arguments.quick and (false_promotions > MOST_FALSE or true_promotions < LEAST_TRUE):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
