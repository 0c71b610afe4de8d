"""Files of a policy version as MLflow keeps an ONNX model."""

from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from polserve.protos.shared.golden import states_of
from polserve.protos.shared.names import GOLDEN_FILE, OBSERVATION
from polserve.training.versions.version import PolicyVersion

LARGEST_EXAMPLE_BYTES = 100_000
"""MLflow writes an input example as JSON, which takes frames thirty times their size."""


def save_model(version: PolicyVersion, folder: Path, model: Model) -> None:
    """Write the version into `folder`/model as MLflow's ONNX models are, described by `model`."""
    golden = folder / GOLDEN_FILE.name
    example = {name: version.golden[name][:2] for name in (OBSERVATION, *states_of(version.golden))}
    np.savez_compressed(golden, allow_pickle=False, **version.golden)
    mlflow.onnx.save_model(
        version.model,
        str(folder / "model"),
        mlflow_model=model,
        signature=_signature(version),
        input_example=example if sum(array.nbytes for array in example.values()) <= LARGEST_EXAMPLE_BYTES else None,
        pip_requirements=[f"{name}=={installed_version(name)}" for name in ("mlflow", "numpy", "onnxruntime")],
        extra_files=[str(golden)],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )


def _signature(version: PolicyVersion) -> ModelSignature:
    specs = {name: TensorSpec(array.dtype, (-1, *array.shape[1:]), name) for name, array in version.golden.items()}
    return ModelSignature(
        inputs=Schema([specs.pop(name) for name in (OBSERVATION, *states_of(version.golden))]),
        outputs=Schema(list(specs.values())),
    )
