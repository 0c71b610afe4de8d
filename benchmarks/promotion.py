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
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.tables import finish, options, show
from polserve.training.evaluation.comparison import compare
from polserve.training.promotion.decision import Criteria, DecisionKind, Rule, decide
from polserve.training.tasks.control.task import CONTROL

MARGIN = CONTROL.margin
"""Loss that *not-worse* allows, as a part of what the champion returns more than the random policy."""
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
ADDED = 1_000.0
"""Constant that an environment might add to each return: it changes no policy."""

Returns = NDArray[np.float64]
Play: TypeAlias = Callable[[Returns, float], Returns]
"""Returns (n,) of games with the luck (n,), uniform in 0 to 1, of a policy that is a part better than the champion."""


@dataclass(frozen=True)
class Scenario:
    """A distribution of returns."""

    name: str
    title: str
    play: Play
    by_chance: float = 0.0
    """Mean return of the random policy; a gap is a part of what the champion returns more."""
    correlation: float = 0.0
    """Correlation of the two games of a seed, as normal scores."""
    is_claimed: bool = True
    """Whether the figures that are stated must hold here: the spread is that of the game."""

    def draw(self, rng: np.random.Generator, n: int, gap: float) -> tuple[Returns, Returns]:
        """Draw returns (n,) of a candidate that is better by the part `gap`, and of the champion."""
        shared = rng.normal(size=n) * np.sqrt(self.correlation)
        luck = stats.norm.cdf(shared + rng.normal(size=(2, n)) * np.sqrt(1 - self.correlation))
        return self.play(luck[0], gap), self.play(luck[1], 0.0)


def scaled(distribution: Any, by_chance: float = 0.0, ceiling: float = np.inf) -> Play:
    """Play for returns of a distribution; whoever is better returns so much more above chance, up to a ceiling."""
    return lambda luck, gap: np.minimum(by_chance + (distribution.ppf(luck) - by_chance) * (1 + gap), ceiling)


def gamma(mean: float, sd: float, **moved: float) -> Any:
    """Skewed distribution, as scores are: none below zero, a tail above."""
    shape = (mean / sd) ** 2
    return stats.gamma(shape, scale=mean / shape, **moved)


def succeeding(part: float) -> Play:
    """Play for success and failure: 1 in the part of the games, else 0."""
    return lambda luck, gap: np.asarray(luck < part * (1 + gap), np.float64)


def reaching(part: float, success: Any, failure: Any, by_chance: float) -> Play:
    """Play for a goal that is reached in the part of the games; returns of either kind differ among themselves.

    Whoever is better reaches it more often, so much that the mean return is better by the gap.
    """
    high, low = success.mean(), failure.mean()

    def play(luck: Returns, gap: float) -> Returns:
        mean = low + part * (high - low)
        reached = part + gap * (mean - by_chance) / (high - low)
        within = np.where(luck < reached, luck / reached, (luck - reached) / (1 - reached))
        return np.asarray(np.where(luck < reached, success.ppf(1 - within), failure.ppf(within)), np.float64)

    return play


def balancing(part: float) -> Play:
    """Play for returns of 500, but in a part of the games for anything below."""

    def play(luck: Returns, gap: float) -> Returns:
        failing = 2 * (1 - (1 - part / 2) * (1 + gap))
        return np.where(luck < failing, 500 * luck / failing, 500.0)

    return play


ALWAYS = 1e-9
"""Standard deviation of returns that are all but the same."""
NORMAL = scaled(stats.norm(MS_PACMAN_MEAN, MS_PACMAN_SD))
SCENARIOS = (
    Scenario("normal", "normal, SD 22 %", NORMAL),
    Scenario("normal_paired", "the same, seeds correlated by 0.5", NORMAL, correlation=0.5),
    Scenario("skewed", "gamma, SD 29 %, as a Ms. Pac-Man policy", scaled(gamma(OURS_MEAN, OURS_SD))),
    Scenario("shifted", f"the same, {ADDED:,.0f} added", scaled(gamma(OURS_MEAN, OURS_SD, loc=ADDED), ADDED), ADDED),
    Scenario("negative", "normal, below zero", scaled(stats.norm(-100, 22), -200.0), -200.0),
    Scenario("heavy", "Student's t(3), SD 29 %", scaled(stats.t(3, loc=OURS_MEAN, scale=OURS_SD / np.sqrt(3)))),
    Scenario("wide", "gamma, SD 60 %", scaled(gamma(OURS_MEAN, 0.6 * OURS_MEAN)), is_claimed=False),
    Scenario(
        "ceiling", "gamma, SD 29 %, a fifth at a ceiling", scaled(gamma(400.0, 116.0), ceiling=500.0), is_claimed=False
    ),
    Scenario("mostly", "three of five at a ceiling, the others anywhere below", balancing(0.4), is_claimed=False),
    Scenario("rare", "1 in 5 % of the games, else 0", succeeding(0.05), is_claimed=False),
    Scenario("half", "1 in half of the games, else 0", succeeding(0.5), is_claimed=False),
    Scenario("often", "1 in 90 % of the games, else 0", succeeding(0.9), is_claimed=False),
    Scenario(
        "goal",
        "MiniGrid: 0.73 to 0.91 in 80 % of the games, else 0",
        reaching(0.8, stats.norm(0.82, 0.045), stats.norm(0.0, ALWAYS), 0.0),
        is_claimed=False,
    ),
    Scenario(
        "climb",
        "MountainCar: about -110 in 80 % of the games, else -200",
        reaching(0.8, stats.norm(-110, 8), stats.norm(-200, ALWAYS), -200.0),
        -200.0,
        is_claimed=False,
    ),
    Scenario(
        "landing",
        "LunarLander: about 260 in 80 % of the games, else about -100",
        reaching(0.8, stats.norm(260, 20), stats.norm(-100, 60), -180.0),
        -180.0,
        is_claimed=False,
    ),
    Scenario(
        "wild",
        "Student's t(1.5): a few games make all the difference to the mean",
        scaled(stats.t(1.5, loc=OURS_MEAN, scale=100.0)),
        is_claimed=False,
    ),
    Scenario("constant", "all games return the same", lambda luck, gap: np.full_like(luck, 500.0 * (1 + gap))),
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
        rng, found, scenario = np.random.default_rng(seed), Counter[Rule](), BY_NAME[self.scenario]
        for _ in range(CHUNK):
            comparison = compare(*scenario.draw(rng, self.episodes, self.gap))
            loss_allowed = Criteria().loss_allowed(comparison.champion.mean, scenario.by_chance, MARGIN)
            found.update(rule for rule in Rule if decide(comparison, rule, loss_allowed)[0] is DecisionKind.PROMOTED)
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
    pairs = CHUNK if arguments.quick else arguments.pairs
    gaps = {"equal": 0.0, "gap": GAP, "margin": -MARGIN}
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
        ("returns", "better: equal", f"better: +{GAP:.0%}", "not-worse: equal", f"not-worse: -{MARGIN:.0%}"),
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
            "false_promotions_not_worse": max(
                # Constant returns lie at the margin, which is allowed; a ceiling lets the mean lose less than it.
                found[name, "margin"][Rule.NOT_WORSE]
                for name in BY_NAME
                if name not in {"constant", "ceiling"}
            ),
            **each,
        },
        as_json=arguments.json,
    )
    if not arguments.quick and (false_promotions > MOST_FALSE or true_promotions < LEAST_TRUE):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
