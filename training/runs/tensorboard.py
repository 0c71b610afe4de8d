"""The metrics of a run as event files of TensorBoard."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from polserve.training.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "tensorboard"
"""Folder of the event files, in the run's."""


def check_tensorboard() -> None:
    """Raise InvalidOption where TensorBoard's package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InvalidOption(
            "--tensorboard: expected the package tensorboard, which is not installed: "
            "pip install 'polserve[training,tensorboard]'"
        )


class EventFiles:
    """Writes metrics where `tensorboard --logdir` finds them."""

    def __init__(self, folder: Path, step: int) -> None:
        """Write into `folder/tensorboard`; of a run that is resumed at `step`, what came later is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / FOLDER), purge_step=step or None)

    def add(self, metrics: "Mapping[str, float]", step: int) -> None:
        """Write metrics by path at an environment step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._writer.close()
