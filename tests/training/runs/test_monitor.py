"""What watches a run: what it says, and how often."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from polserve.training.errors import RegistryError
from polserve.training.learning.progress import Progress, TrainingFigures
from polserve.training.runs.monitor import Monitor


class Registry:
    """A tracked run in a store that may be down."""

    is_down = is_waiting = False

    def log_metrics(self, _metrics: Mapping[str, float], _step: int) -> None:
        self.is_waiting = self.is_down
        if self.is_down:
            raise RegistryError("the MLflow store does not answer")


def test_a_registry_that_is_down_is_said_once_and_when_it_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry()
    figures = TrainingFigures(None, 0.0, 0.0, {})
    loop = SimpleNamespace(step=0, figures=lambda: figures)
    run: Any = SimpleNamespace(
        options=SimpleNamespace(folder=tmp_path, has_tensorboard=False),
        trainee=SimpleNamespace(loop=loop, elapsed_s=1.0),
        recipe=SimpleNamespace(loop=SimpleNamespace(checkpoint_every_s=1e9)),
        tracked=registry,
    )
    display: Any = SimpleNamespace(show=lambda _: None, go_on=lambda: None)
    monitor = Monitor(run, display, Console(soft_wrap=True))
    for step, is_down in enumerate((False, True, True, False, False, True), 1):
        registry.is_down = is_down
        monitor.watch(Progress(step, 9, 0, 0, None, is_report_due=True))
    warning = "warning: the MLflow store does not answer; training goes on"
    back = "note: the MLflow store answers again, and has the metrics that waited"
    assert capsys.readouterr().out.splitlines() == [warning, back, warning]
    assert len((tmp_path / "learning_curve.csv").read_text().splitlines()) == 7
