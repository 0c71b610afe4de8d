"""Policy versions in the MLflow registry: registered, named by aliases, fetched."""

import contextlib
import logging
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from hashlib import file_digest
from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from polserve.protos.shared.alias_history import HISTORY_TAG, earlier, parse_history
from polserve.protos.shared.names import CHAMPION, GOLDEN_FILE, MODEL_FILE, OBSERVATION, POLICY_TAG, SHA256_TAG
from polserve.protos.shared.version_names import VersionName
from polserve.training.errors import RaceLost, RegistryError
from polserve.training.registry.aliases import AliasMove, ChampionAlias, champion_of, mover
from polserve.training.registry.store import registry_errors
from polserve.training.versions.version import PolicyVersion

LARGEST_EXAMPLE_BYTES = 100_000
"""MLflow writes an input example as JSON, which takes frames thirty times their size."""
DECISION_TAG = "polserve.promotion"
"""Tag of a version: whether it was promoted, when, and why."""
DECISION_RUN_TAG = "polserve.promotion.run"
"""Tag of a version: the MLflow run that holds the evidence."""
MAX_TAG_LENGTH = 1_000
NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"


class Outcome(StrEnum):
    """What became of a candidate."""

    PROMOTED = "promoted"
    FORCED = "forced"
    REFUSED = "refused"
    LOST = "lost"
    """Somebody else moved the alias first."""
    STANDING = "standing"
    """It was champion already."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a candidate, and why."""

    outcome: Outcome
    reason: str
    run_id: str = ""
    """Of the MLflow run that holds the evidence; "" for none."""


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
            if self.champion(name) is None:
                self._make_first(name, number)
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
            try:
                return self._client.get_registered_model(policy)
            except MlflowException as error:
                if error.error_code != NOT_FOUND:
                    raise
                models = self._client.search_registered_models()
                known = ", ".join(sorted(model.name for model in models if POLICY_TAG in model.tags)) or "none"
                raise RegistryError(f"no policy {policy!r} is registered; registered are {known}") from error

    def resolve(self, name: VersionName) -> str:
        """The number of the version that is meant.

        Raises:
            RegistryError: there is no such version or alias.
        """
        if name.version:
            newest = self.newest(name.policy)
            with registry_errors():
                try:
                    return str(self._client.get_model_version(name.policy, name.version).version)
                except MlflowException as error:
                    if error.error_code != NOT_FOUND:
                        raise
                    raise RegistryError(
                        f"{name.policy} has no version {name.version}; its newest is {newest}"
                    ) from error
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

    def graph(self, policy: str, version: str, target: Path) -> tuple[Path, str]:
        """The file of the version's graph, below `target`, and its sha256, which is the one that was registered.

        Raises:
            RegistryError: it is not, or it cannot be had.
        """
        path = self.download(policy, version, target) / MODEL_FILE
        sha256 = _sha256(path)
        stated = self.version(policy, version).tags.get(SHA256_TAG)
        if sha256 != stated:
            raise RegistryError(
                f"{policy}/{version}: model.onnx has sha256 {sha256}, its tag {SHA256_TAG} says {stated}"
            )
        return path, sha256

    def champion(self, policy: str) -> str | None:
        """The version that is @champion; None where there is none."""
        return champion_of(self.model(policy))

    def version(self, policy: str, version: str) -> ModelVersion:
        """The entry of a version.

        Raises:
            RegistryError: there is none.
        """
        with registry_errors():
            return self._client.get_model_version(policy, version)

    def move(self, move: AliasMove) -> None:
        """@champion has moved, unless somebody else was first.

        Raises:
            RaceLost: somebody was.
        """
        ChampionAlias(self._client).move(move)

    def note(self, policy: str, version: str, verdict: Verdict) -> None:
        """The version's tags say what became of it."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = f"{verdict.outcome} {moment} {verdict.reason}"[:MAX_TAG_LENGTH]
        with registry_errors():
            self._client.set_model_version_tag(policy, version, DECISION_TAG, text)
            if verdict.run_id:
                self._client.set_model_version_tag(policy, version, DECISION_RUN_TAG, verdict.run_id)

    def rollback(self, policy: str, to: str = "") -> tuple[str, str]:
        """@champion is the version that was champion before, or the one named; returns the versions before and after.

        Raises:
            RegistryError: no earlier champion is on record, or not the one that is named.
            RaceLost: somebody else moved the alias in between.
        """
        current = self.resolve(VersionName(policy))
        target = self._earlier(policy, current, to)
        self.move(AliasMove(policy, target, current, mover("polserve rollback"), is_rollback=True))
        return current, target

    def _earlier(self, policy: str, current: str, wanted: str) -> str:
        """The version to go back to; `wanted` is one that was champion at any time, "" the one before."""
        moves = parse_history(self.model(policy).tags.get(HISTORY_TAG, ""))
        with registry_errors():
            existing = {str(found.version) for found in self._client.search_model_versions(f"name = '{policy}'")}
        once = dict.fromkeys(move.version for move in reversed(moves) if move.version != current)
        known = [version for version in (once if wanted else earlier(moves, current)) if version in existing]
        if wanted in known or (known and not wanted):
            return wanted or known[0]
        missing = f"version {wanted} was not champion before {current}" if wanted else f"no champion before {current}"
        others = f"on record are {', '.join(known)}" if known else "none is on record"
        raise RegistryError(
            f"{policy}: {missing}; {others}; "
            f"promote the one you want: polserve promote {policy}/VERSION --force --reason ..."
        )

    def _make_first(self, policy: str, version: str) -> None:
        """The version is @champion, unless another became it just now."""
        with contextlib.suppress(RaceLost):
            self.move(AliasMove(policy, version, None, mover("polserve train")))
            self.note(policy, version, Verdict(Outcome.PROMOTED, "the first version"))

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
            return _sha256(self.download(policy, version, Path(folder)) / MODEL_FILE)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _signature(version: PolicyVersion) -> ModelSignature:
    specs = {name: TensorSpec(array.dtype, (-1, *array.shape[1:]), name) for name, array in version.golden.items()}
    return ModelSignature(
        inputs=Schema([specs.pop(OBSERVATION)]),
        outputs=Schema(list(specs.values())),
    )
