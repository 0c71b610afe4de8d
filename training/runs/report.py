"""What a run leaves for people: the learning curve, the returns, the evaluation."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from polserve.protos.shared.figures import figure
from polserve.training.evaluation.evaluation import Evaluation
from polserve.training.evaluation.statistics import bin_range
from polserve.training.learning.progress import TrainingResult
from polserve.training.tasks.task import MEAN_RETURN

_figure = partial(figure, form=".2f")


def write_report(folder: Path, training: TrainingResult, result: Evaluation) -> None:
    """Write into `folder` learning_curve.png, returns.png, evaluation.md and evaluation.json."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    _learning_curve(folder / "learning_curve.png", training, result)
    write_evaluation(folder, result, _story(training))


def write_evaluation(folder: Path, result: Evaluation, story: str) -> None:
    """Write into `folder` returns.png, evaluation.json, and evaluation.md, which begins with a `story`."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    _returns(folder / "returns.png", result)
    (folder / "evaluation.md").write_text(_markdown(story, result))
    (folder / "evaluation.json").write_text(
        json.dumps(
            {
                "policy": asdict(result.summary),
                "random": asdict(result.random_summary),
                "first_seed": result.first_seed,
                "returns": list(result.returns),
                "random_returns": list(result.random_returns),
            },
            indent=2,
        )
    )


def _learning_curve(path: Path, training: TrainingResult, result: Evaluation) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps, means = zip(*training.curve, strict=True)
    axes.plot(steps, means, marker=".", label="greedy evaluation")
    if training.score_name == MEAN_RETURN:
        axes.axhline(result.random_summary.mean, linestyle="--", color="grey", label="random policy")
    axes.set(
        xlabel="environment steps learned from",
        ylabel=training.score_name,
        title=f"{result.policy} on {result.environment}",
    )
    axes.legend()
    figure.savefig(path, dpi=120)


def _returns(path: Path, result: Evaluation) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    span = bin_range([*result.returns, *result.random_returns])
    for returns, label in ((result.random_returns, "random policy"), (result.returns, result.policy)):
        axes.hist(returns, bins=40, range=span, alpha=0.7, label=label)
    axes.set(xlabel="return of an episode", ylabel="episodes", title=f"{result.environment}, evaluation seeds")
    axes.legend()
    figure.savefig(path, dpi=120)


def _story(training: TrainingResult) -> str:
    return (
        f"Learned from {training.step:,} environment steps ({training.episodes:,} episodes), evaluated on "
        f"{training.selection_steps:,} more, in {training.elapsed_s:.0f} s. "
        f"The checkpoint with the best greedy evaluation ({training.score_name} {_figure(training.best_score)}) "
        "was kept; the figures below are of other seeds."
    )


def _markdown(story: str, result: Evaluation) -> str:
    rows = [
        f"| {name} | {s.episodes} | {_figure(s.mean)} | {_figure(s.interval_low)} to {_figure(s.interval_high)} "
        f"| {_figure(s.median)} | {_figure(s.iqm)} | {_figure(s.standard_deviation)} |"
        for name, s in ((result.policy, result.summary), ("random", result.random_summary))
    ]
    if result.published:
        story += f" {result.published}"
    columns = ["policy", "episodes", "mean return", f"{result.summary.confidence:.0%} interval", "median", "IQM"]
    columns.append("standard deviation")
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([f"# {result.policy} on {result.environment}", "", story, "", *head, *rows, ""])
