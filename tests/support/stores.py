"""MLflow stores of a test's own, in a file."""

import tempfile
from functools import cache
from pathlib import Path

from mlflow import MlflowClient


def new_store(folder: Path, name: str = "mlflow.db") -> str:
    """A store without a run or a model in a folder; the value is its address."""
    path = folder / name
    path.write_bytes(_without_contents())
    return f"sqlite:///{path}"


@cache
def _without_contents() -> bytes:
    """The file of such a store; to make its tables takes longer than most tests do."""
    with tempfile.TemporaryDirectory(prefix="polserve-store-") as folder:
        path = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{path}").search_experiments()
        return path.read_bytes()
