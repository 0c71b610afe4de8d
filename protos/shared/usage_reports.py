"""Libraries that would report their use to those who make them, and that are told not to."""

import os
from typing import Final

TURNED_OFF: Final = {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}
"""Variables that they read when they are imported."""


def report_to_nobody() -> None:
    """Have no library report its use; before they are imported, and unless the environment says otherwise."""
    for name, value in TURNED_OFF.items():
        os.environ.setdefault(name, value)
