"""The evidence of a promotion, for people and for the record: the table, the plot, every return."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from polserve.protos.shared.promotions import COMPARISON_FILE
from polserve.training.evaluation.comparison import Comparison, Estimate
from polserve.training.evaluation.statistics import bin_range

BINS = 40


@dataclass(frozen=True, slots=True)
class Evidence:
    """The returns of a candidate and of the champion in the same games, and their comparison."""

    candidate: str
    """The candidate's name, as in cartpole/3."""
    champion: str
    environment: str
    first_seed: int
    max_steps: int
    """Steps after which a game was cut off."""
    candidate_returns: Sequence[float] = field(repr=False)
    champion_returns: Sequence[float] = field(repr=False)
    """Game i of either was played on seed `first_seed + i`."""
    comparison: Comparison
    random_mean: float
    """Mean return of the policy that draws every action at random."""
    loss_allowed: float
    """Loss that the criteria allow the candidate, in returns."""

    @property
    def title(self) -> str:
        """A sentence that says who played what."""
        last_seed = self.first_seed + self.comparison.episodes - 1
        games = (
            f"{self.comparison.episodes} games of {self.environment} each, on seeds {self.first_seed} to {last_seed}"
        )
        return f"{self.candidate} against the champion {self.champion}: {games}"


def columns(evidence: Evidence) -> list[str]:
    """Return the heads of the table."""
    interval = f"{evidence.comparison.confidence:.0%} interval"
    return ["return", evidence.candidate, evidence.champion, "difference", interval]


def rows(comparison: Comparison) -> list[list[str]]:
    """Return the cells of the table, below `columns`."""
    ours, theirs = comparison.candidate, comparison.champion
    chance = comparison.improvement
    return [
        ["IQM", _figure(ours.iqm), _figure(theirs.iqm), *_difference(comparison.iqm_difference)],
        ["mean", _figure(ours.mean), _figure(theirs.mean), *_difference(comparison.mean_difference)],
        ["SD", _figure(ours.standard_deviation), _figure(theirs.standard_deviation), "", ""],
        ["P(improvement)", f"{chance.value:.3f}", "", "", f"{chance.low:.3f} to {chance.high:.3f}"],
    ]


def metrics(comparison: Comparison) -> dict[str, float]:
    """Return the figures of a comparison by metric path."""
    sides = {"candidate": comparison.candidate, "champion": comparison.champion}
    estimates = {
        "difference/iqm": comparison.iqm_difference,
        "difference/mean": comparison.mean_difference,
        "improvement/probability": comparison.improvement,
    }
    return {
        **{f"{name}/{figure}": value for name, side in sides.items() for figure, value in asdict(side).items()},
        **{name: estimate.value for name, estimate in estimates.items()},
        **{f"{name}_low": estimate.low for name, estimate in estimates.items()},
        **{f"{name}_high": estimate.high for name, estimate in estimates.items()},
    }


def write_evidence(folder: Path, evidence: Evidence) -> None:
    """Write comparison.md, comparison.json and returns.png into `folder`."""
    mpl.use("agg")
    (folder / "comparison.md").write_text(_markdown(evidence))
    (folder / COMPARISON_FILE).write_text(json.dumps(asdict(evidence), indent=2))
    _plot(folder / "returns.png", evidence)


def _markdown(evidence: Evidence) -> str:
    heads = columns(evidence)
    lines = [heads, ["---"] * len(heads), *rows(evidence.comparison)]
    return "\n".join([f"# {evidence.title}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def _plot(path: Path, evidence: Evidence) -> None:
    """Draw both distributions above, the differences of the pairs below."""
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2)
    comparison, deciding = evidence.comparison, evidence.comparison.deciding
    sides = (
        (evidence.champion_returns, comparison.champion.of(deciding), f"{evidence.champion} (champion)", "tab:grey"),
        (evidence.candidate_returns, comparison.candidate.of(deciding), evidence.candidate, "tab:blue"),
    )
    span = bin_range([*evidence.champion_returns, *evidence.candidate_returns])
    for returns, value, label, color in sides:
        above.hist(returns, bins=BINS, range=span, alpha=0.6, label=label, color=color)
        above.axvline(value, color=color, linestyle="--")
    above.set(xlabel=f"return of a game; dashed: {deciding}", ylabel="games", title=evidence.environment)
    above.legend()
    pairs = zip(evidence.candidate_returns, evidence.champion_returns, strict=True)
    differences = [ours - theirs for ours, theirs in pairs]
    below.hist(differences, bins=BINS, range=bin_range(differences), color="tab:blue", alpha=0.6)
    below.axvline(0.0, color="black", linewidth=0.8)
    below.set(xlabel=f"return of {evidence.candidate} less that of {evidence.champion}, same seed", ylabel="pairs")
    figure.savefig(path, dpi=120)


def _figure(value: float, sign: str = "") -> str:
    """Write a number as people do: hundredths, or three digits of what is less than one."""
    is_small = 0 < abs(value) < 1
    return f"{value:{sign},.{3 if is_small else 2}{'g' if is_small else 'f'}}"


def _difference(estimate: Estimate) -> list[str]:
    return [_figure(estimate.value, "+"), f"{_figure(estimate.low, '+')} to {_figure(estimate.high, '+')}"]
