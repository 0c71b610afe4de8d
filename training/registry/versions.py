"""Policy versions in the MLflow registry: registered, named by aliases, fetched."""

import contextlib
import re
import tempfile
import time
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking.context.registry import resolve_tags

from polserve.protos.shared.names import CHAMPION, MODEL_FILE, POLICY_TAG, SHA256_TAG
from polserve.protos.shared.promotions import DECISION_RUN_TAG, DECISION_TAG
from polserve.protos.shared.signing import SIGNATURE_FILE, sign_folder
from polserve.protos.shared.version_names import VersionName
from polserve.training.errors import RaceLost, RegistryError
from polserve.training.registry.address import is_server
from polserve.training.registry.aliases import AliasMove, ChampionAlias, champion_of, mover
from polserve.training.registry.model_files import save_model
from polserve.training.registry.names import logged_model_name
from polserve.training.registry.store import registry_errors
from polserve.training.versions.version import PolicyVersion

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_TAG_LENGTH = 1_000
LOGGED_MODEL = re.compile("models:/(m-[0-9a-f]+)")
"""Source of a version that a run logged; a copy of a version has another."""
NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"


class PolicyRegistry:
    """The registered models that are policies."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client

    def register(self, version: PolicyVersion, run_id: str, key: "Ed25519PrivateKey | None" = None) -> str:
        """Register a new version with its tags, signed where there is a key; return its number.

        Where there was no champion it becomes @champion, unless it was never evaluated.

        Raises:
            RegistryError: the store refused it, or stored other bytes.
        """
        name = version.spec.name
        with registry_errors(self.client):
            number = self._log(version, run_id, key)
            stored = self._stored_sha256(name, number)
            if stored != version.sha256:
                raise RegistryError(f"{name}/{number}: model.onnx was stored as {stored}, expected {version.sha256}")
            self.client.set_registered_model_tag(name, POLICY_TAG, "true")
            self.client.set_model_version_tag(name, number, SHA256_TAG, stored)
            if self.champion(name) is None and version.spec.HasField("evaluation"):
                self._make_first(name, number)
        return number

    def has(self, policy: str) -> bool:
        """Return whether there is a registered model of that name."""
        with registry_errors(self.client):
            return any(model.name == policy for model in self.client.search_registered_models(f"name = '{policy}'"))

    def model(self, policy: str) -> RegisteredModel:
        """Return the registered model of a policy.

        Raises:
            RegistryError: there is none of that name.
        """
        with registry_errors(self.client):
            try:
                return self.client.get_registered_model(policy)
            except MlflowException as error:
                if error.error_code != NOT_FOUND:
                    raise
                models = self.client.search_registered_models()
                known = ", ".join(sorted(model.name for model in models if POLICY_TAG in model.tags)) or "none"
                raise RegistryError(f"no policy {policy!r} is registered; registered are {known}") from error

    def resolve(self, name: VersionName) -> str:
        """Return the number of the version that is meant.

        Raises:
            RegistryError: there is no such version or alias.
        """
        if name.version:
            newest = self.newest(name.policy)
            with registry_errors(self.client):
                try:
                    return str(self.client.get_model_version(name.policy, name.version).version)
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
        """Return the highest version number of a policy.

        Raises:
            RegistryError: there is no version.
        """
        self.model(policy)
        numbers = self.numbers(policy)
        if not numbers:
            raise RegistryError(f"{policy} has no version; make one with `polserve train` or `polserve import`")
        return max(numbers, key=int)

    def numbers(self, policy: str) -> set[str]:
        """Return the numbers of a policy's versions that exist."""
        return set(self.tags(policy))

    def tags(self, policy: str) -> dict[str, dict[str, str]]:
        """Return the tags of a policy's versions, by number."""
        with registry_errors(self.client):
            found = self.client.search_model_versions(f"name = '{policy}'")
            return {str(version.version): dict(version.tags) for version in found}

    def newest_of_run(self, policy: str, run_id: str) -> str | None:
        """Return the highest version number of a policy among those that a run registered; None where it did not."""
        with registry_errors(self.client):
            found = self.client.search_model_versions(f"name = '{policy}'")
            return max((str(version.version) for version in found if version.run_id == run_id), key=int, default=None)

    def logged_model(self, policy: str, version: str) -> str | None:
        """Return the id of the model that a run logged and the version is of; None for a copy of another version."""
        source = self.version(policy, version).source or ""
        return logged.group(1) if (logged := LOGGED_MODEL.fullmatch(source)) else None

    def download(self, policy: str, version: str, target: Path) -> Path:
        """Download a version's files to `target`; return the folder below it that holds them.

        Raises:
            RegistryError: they cannot be had.
        """
        with registry_errors(self.client):
            storage = self._storage(policy, version)
            tracking_uri = self.client.tracking_uri
            return Path(mlflow.artifacts.download_artifacts(storage, dst_path=str(target), tracking_uri=tracking_uri))

    def graph(self, policy: str, version: str, target: Path) -> tuple[Path, str]:
        """Download a version's graph to `target`; return its file and its sha256, which is the one that was registered.

        Raises:
            RegistryError: it is not, or it cannot be had.
        """
        self.sha256(policy, version)
        path = self._download_graph(policy, version, target)
        return path, self.check_sha256(policy, version, path)

    def check_sha256(self, policy: str, version: str, path: Path) -> str:
        """Return the sha256 of a version's graph that was downloaded to `path`.

        Raises:
            RegistryError: it is not the one that was registered.
        """
        sha256, stated = _sha256(path), self.sha256(policy, version)
        if sha256 != stated:
            raise RegistryError(
                f"{policy}/{version}: model.onnx has sha256 {sha256}, its tag {SHA256_TAG} says {stated}"
            )
        return sha256

    def sha256(self, policy: str, version: str) -> str:
        """Return the sha256 of a version's graph as it was registered.

        Raises:
            RegistryError: there is none, as of a model that polserve did not register.
        """
        stated: str = self.version(policy, version).tags.get(SHA256_TAG, "")
        if not stated:
            raise RegistryError(
                f"{policy}/{version} is no version of polserve's: it has no tag {SHA256_TAG}, and no service answers "
                "with it; make one of its ONNX file with `polserve import onnx`, or train one with `polserve train`"
            )
        return stated

    def add_signatures(self, policy: str, version: str, path: Path) -> None:
        """Put the file of a version's signatures beside its other files."""
        with registry_errors(self.client):
            storage, uri = self._storage(policy, version), self.client.tracking_uri
            get_artifact_repository(storage, tracking_uri=uri).log_artifact(str(path), str(SIGNATURE_FILE.parent))

    def champion(self, policy: str) -> str | None:
        """Return the version that is @champion; None where there is none."""
        return champion_of(self.model(policy))

    def version(self, policy: str, version: str) -> ModelVersion:
        """Return the registry's entry of a version.

        Raises:
            RegistryError: there is none.
        """
        with registry_errors(self.client):
            return self.client.get_model_version(policy, version)

    def note_decision(self, policy: str, version: str, kind: str, reason: str, run_id: str = "") -> None:
        """Write into the version's tags what was decided on it, and the MLflow run that holds the evidence, if any."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with registry_errors(self.client):
            text = f"{kind} {moment} {reason}"[:MAX_TAG_LENGTH]
            self.client.set_model_version_tag(policy, version, DECISION_TAG, text)
            if run_id:
                self.client.set_model_version_tag(policy, version, DECISION_RUN_TAG, run_id)

    def _make_first(self, policy: str, version: str) -> None:
        """Make the version @champion, unless another became it just now."""
        with contextlib.suppress(RaceLost):
            ChampionAlias(self.client).move(AliasMove(policy, version, None, mover("polserve train")))
            self.note_decision(policy, version, "promoted", "the first version")

    def _log(self, version: PolicyVersion, run_id: str, key: "Ed25519PrivateKey | None") -> str:
        """Log the version as a model of the run and register it; return its number.

        By the client alone: `mlflow.onnx.log_model` reads and sets what is global to the process.
        """
        client, name = self.client, version.spec.name
        run = client.get_run(run_id)
        logged = client.create_logged_model(
            run.info.experiment_id, logged_model_name(name), run_id, tags=resolve_tags(), params=run.data.params
        )
        with tempfile.TemporaryDirectory() as folder:
            model = Model(logged.artifact_location, run_id, model_uuid=logged.model_id, model_id=logged.model_id)
            save_model(version, Path(folder), model)
            if key is not None:
                sign_folder(Path(folder) / "model", name, key)
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != ALREADY_EXISTS:
                raise
        # MLflow looks a model up in the store that is global to the process, where this client's is a database.
        source = f"models:/{logged.model_id}" if is_server(client.tracking_uri) else logged.artifact_location
        created = client.create_model_version(name, source, run_id, await_creation_for=0, model_id=logged.model_id)
        return str(created.version)

    def _stored_sha256(self, policy: str, version: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            return _sha256(self._download_graph(policy, version, Path(folder)))

    def _download_graph(self, policy: str, version: str, target: Path) -> Path:
        """Download the version's graph alone to `target`, with none of the bars that MLflow shows for whole folders."""
        target.mkdir(parents=True, exist_ok=True)
        path = target / MODEL_FILE
        with registry_errors(self.client):
            repository = get_artifact_repository(self._storage(policy, version), tracking_uri=self.client.tracking_uri)
            repository._download_file(MODEL_FILE, str(path))  # noqa: SLF001 - what every kind of store implements
        return path

    def _storage(self, policy: str, version: str) -> str:
        return str(self.client.get_model_version_download_uri(policy, version))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
