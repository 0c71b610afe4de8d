"""An MLflow registry as the follower needs it. The only module of `serving` that imports mlflow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient, artifacts, set_tracking_uri
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from polserve.protos.shared.alias_history import HISTORY_TAG
from polserve.protos.shared.names import POLICY_TAG, SHA256_TAG
from polserve.serving.sources.fetching import Artifact

PAGE = 100


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model, which holds the versions of one policy."""

    name: str
    aliases: dict[str, str]
    """Alias to version number."""
    history: str
    """The record of @champion's moves (`polserve.protos.shared.alias_history`)."""
    created: int
    """Milliseconds since 1970; tells it from one of the same name that was deleted."""


class Registry:
    """Registered models, their tags and their files; whatever a registry does wrong is raised as it comes."""

    def __init__(self, tracking_uri: str) -> None:
        set_tracking_uri(tracking_uri)
        self._client = MlflowClient()

    def model(self, name: str) -> Model | None:
        """Ask for the registered model of that name, in one request; None where there is none."""
        try:
            return _model(self._client.get_registered_model(name))
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise

    def policies(self) -> Iterator[Model]:
        """Yield every registered model with the tag polserve.policy, in a request for each hundred models."""
        token = None
        while True:
            page = self._client.search_registered_models(max_results=PAGE, page_token=token)
            yield from (_model(model) for model in page if POLICY_TAG in model.tags)
            token = page.token
            if not token:
                return

    def sha256(self, policy: str, version: str) -> str:
        """Ask for the checksum of a version's model.onnx, as registered; empty where it has none."""
        return str(self._client.get_model_version(policy, version).tags.get(SHA256_TAG, ""))

    def storage(self, policy: str, version: str) -> str:
        """Ask where a version's files are, for `files` and `download`."""
        return str(self._client.get_model_version_download_uri(policy, version))

    def files(self, storage: str) -> list[Artifact]:
        """List the files in a folder, those in folders below it left out."""
        found = artifacts.list_artifacts(artifact_uri=storage)
        return [Artifact(str(info.path), int(info.file_size or 0)) for info in found if not info.is_dir]

    def download(self, storage: str, target: Path) -> None:
        """Write the file at `storage` into the folder `target`."""
        artifacts.download_artifacts(artifact_uri=storage, dst_path=str(target))

    def tag_version(self, policy: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._client.set_model_version_tag(policy, version, key, value)

    def write_history(self, policy: str, text: str) -> None:
        """Replace the record of @champion's moves by `text`."""
        self._client.set_registered_model_tag(policy, HISTORY_TAG, text)


def _model(model: RegisteredModel) -> Model:
    aliases = {str(alias): str(version) for alias, version in model.aliases.items()}
    return Model(str(model.name), aliases, str(model.tags.get(HISTORY_TAG, "")), int(model.creation_timestamp or 0))
