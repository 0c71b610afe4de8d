"""Policy versions in the MLflow registry: registered, named by aliases, fetched."""

import json
import logging
import tempfile
from dataclasses import dataclass
from hashlib import file_digest
from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from protos.names import CHAMPION, GOLDEN_FILE, MODEL_FILE, OBSERVATION, POLICY_TAG, SHA256_TAG
from training.errors import RegistryError
from training.export import PolicyVersion
from training.registry.store import registry_errors

HISTORY_TAG = "polserve.champion.history"
"""Tag of a registered model: the versions that were champion, oldest first, as a JSON list."""
LARGEST_EXAMPLE_BYTES = 100_000
"""MLflow writes an input example as JSON, which takes frames thirty times their size."""
REASON_TAG = "polserve.promotion"
"""Tag of a version: why it was promoted."""


@dataclass(frozen=True, slots=True)
class VersionName:
    """Which version is meant: POLICY, POLICY/VERSION or POLICY@ALIAS (also POLICY/@ALIAS)."""

    policy: str
    version: str = ""
    alias: str = ""

    @classmethod
    def parse(cls, text: str) -> "VersionName":
        """The name that `text` writes."""
        policy, _, rest = text.partition("@") if "@" in text else text.partition("/")
        if "@" in text:
            return cls(policy.rstrip("/"), alias=rest)
        return cls(policy, version=rest)


class PolicyRegistry:
    """The registered models that are policies."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def register(self, version: PolicyVersion, run_id: str) -> str:
        """A new version with its tags, and @champion where there was none; returns its number.

        Raises:
            RegistryError: the store refused it, or stored other bytes.
        """
        name = version.spec.name
        with registry_errors():
            number = self._log(version, run_id)
            stored = self._stored_sha256(name, number)
            if stored != version.sha256:
                raise RegistryError(f"{name}/{number}: model.onnx was stored as {stored}, expected {version.sha256}")
            self._client.set_registered_model_tag(name, POLICY_TAG, "true")
            self._client.set_model_version_tag(name, number, SHA256_TAG, stored)
            if CHAMPION not in self.model(name).aliases:
                self.promote(name, number, "the first version")
        return number

    def has(self, policy: str) -> bool:
        """Whether there is a registered model of that name."""
        with registry_errors():
            return any(model.name == policy for model in self._client.search_registered_models(f"name = '{policy}'"))

    def model(self, policy: str) -> RegisteredModel:
        """The registered model.

        Raises:
            RegistryError: there is none of that name.
        """
        with registry_errors():
            return self._client.get_registered_model(policy)

    def resolve(self, name: VersionName) -> str:
        """The number of the version that is meant.

        Raises:
            RegistryError: there is no such version or alias.
        """
        if name.version:
            with registry_errors():
                return str(self._client.get_model_version(name.policy, name.version).version)
        alias = name.alias or CHAMPION
        aliases = self.model(name.policy).aliases
        if alias not in aliases:
            known = ", ".join(f"@{known}" for known in sorted(aliases)) or "none"
            raise RegistryError(f"{name.policy} has no alias @{alias}; it has {known}")
        return str(aliases[alias])

    def newest(self, policy: str) -> str:
        """The highest version number.

        Raises:
            RegistryError: there is no version.
        """
        self.model(policy)
        with registry_errors():
            versions = self._client.search_model_versions(f"name = '{policy}'")
        if not versions:
            raise RegistryError(f"{policy} has no version; train one with `polserve train`")
        return str(max(int(version.version) for version in versions))

    def download(self, policy: str, version: str, target: Path) -> Path:
        """The folder below `target` that holds the version's files.

        Raises:
            RegistryError: they cannot be had.
        """
        with registry_errors():
            return Path(mlflow.artifacts.download_artifacts(f"models:/{policy}/{version}", dst_path=str(target)))

    def promote(self, policy: str, version: str, reason: str) -> None:
        """The version is @champion, and the registry says why and what was champion before."""
        model = self.model(policy)
        history = self._history(model)
        with registry_errors():
            self._client.set_model_version_tag(policy, version, REASON_TAG, reason)
            self._client.set_registered_model_alias(policy, CHAMPION, version)
            self._write_history(policy, [*history, version])

    def rollback(self, policy: str) -> tuple[str, str]:
        """@champion is the version that was champion before; returns the versions before and after.

        Raises:
            RegistryError: no earlier champion is on record.
        """
        current = self.resolve(VersionName(policy))
        history = self._history(self.model(policy))
        with registry_errors():
            existing = {str(found.version) for found in self._client.search_model_versions(f"name = '{policy}'")}
        while history and (history[-1] == current or history[-1] not in existing):
            history.pop()
        if not history:
            raise RegistryError(
                f"{policy}: no champion before version {current} is on record; "
                f"promote the one you want: polserve promote {policy}/VERSION --force --reason ..."
            )
        with registry_errors():
            self._client.set_registered_model_alias(policy, CHAMPION, history[-1])
            self._write_history(policy, history)
        return current, history[-1]

    def _history(self, model: RegisteredModel) -> list[str]:
        """The champions, oldest first, the present one last: also where it was moved by hand."""
        history = list(json.loads(model.tags.get(HISTORY_TAG, "[]")))
        current = model.aliases.get(CHAMPION)
        if current is not None and history[-1:] != [str(current)]:
            history.append(str(current))
        return history

    def _write_history(self, policy: str, history: list[str]) -> None:
        self._client.set_registered_model_tag(policy, HISTORY_TAG, json.dumps(history))

    def _log(self, version: PolicyVersion, run_id: str) -> str:
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run_id):
            golden = Path(folder) / GOLDEN_FILE.name
            example = version.golden[OBSERVATION][:2]
            np.savez_compressed(golden, allow_pickle=False, **version.golden)
            info = mlflow.onnx.log_model(
                onnx_model=version.model,
                name=version.spec.name,
                registered_model_name=version.spec.name,
                signature=_signature(version),
                input_example={OBSERVATION: example} if example.nbytes <= LARGEST_EXAMPLE_BYTES else None,
                pip_requirements=[f"{name}=={installed_version(name)}" for name in ("mlflow", "numpy", "onnxruntime")],
                extra_files=[str(golden)],
                onnx_execution_providers=["CPUExecutionProvider"],
                save_as_external_data=False,
            )
        return str(info.registered_model_version)

    def _stored_sha256(self, policy: str, version: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            stored = self.download(policy, version, Path(folder)) / MODEL_FILE
            with stored.open("rb") as file:
                return file_digest(file, "sha256").hexdigest()


def _signature(version: PolicyVersion) -> ModelSignature:
    specs = {name: TensorSpec(array.dtype, (-1, *array.shape[1:]), name) for name, array in version.golden.items()}
    return ModelSignature(
        inputs=Schema([specs.pop(OBSERVATION)]),
        outputs=Schema(list(specs.values())),
    )
