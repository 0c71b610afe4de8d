"""The graph of a policy version that a person names: from a folder, the registry, or the bundled policies."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from polserve.protos.shared.names import CHAMPION, MODEL_FILE
from polserve.protos.shared.version_names import VersionName, names_folder
from polserve.training.errors import RegistryError
from polserve.training.registry.address import has_store, is_told

if TYPE_CHECKING:
    from polserve.training.versions.onnx_policy import OnnxPolicy

BUNDLED = Path(__file__).resolve().parents[2] / "policies"
"""The folder of the policies that come with polserve."""


def find_version(
    named: str | Path, tracking_uri: str | None = None, *, on_wait: Callable[[str], None]
) -> "tuple[str, OnnxPolicy]":
    """Return the full name of the version that is meant, as in cartpole/2, and its graph.

    A name is looked for in the registry; where none was named and the default one does not know the policy, among the
    bundled policies.

    Args:
        named: POLICY for its champion, POLICY/VERSION, POLICY@ALIAS, or the folder of a version (`names_folder`).
        tracking_uri: the MLflow registry; None for that of MLFLOW_TRACKING_URI, or ./mlflow.db.
        on_wait: hears, in a line, that a server is waited for.

    Raises:
        RegistryError: there is no such version or folder, or the registry does not answer.
    """
    if isinstance(named, Path) or names_folder(named):
        return _in_folder(Path(named).expanduser())
    name = VersionName.parse(named)
    if has_store(tracking_uri):
        from polserve.training.registry.store import connect
        from polserve.training.registry.versions import PolicyRegistry

        registry = PolicyRegistry(connect(tracking_uri, on_wait=on_wait))
        if is_told(tracking_uri) or registry.has(name.policy):
            version = registry.resolve(name)
            with tempfile.TemporaryDirectory() as folder:
                path, _ = registry.graph(name.policy, version, Path(folder))
                return f"{name.policy}/{version}", _loaded(path.read_bytes())
    return _bundled(named, name)


def _in_folder(folder: Path) -> "tuple[str, OnnxPolicy]":
    if not (folder / MODEL_FILE).is_file():
        raise RegistryError(f"{folder}: expected the folder of a policy version, with {MODEL_FILE} in it; got none")
    policy = _loaded(folder / MODEL_FILE)
    return f"{policy.spec.name}/{folder.resolve().name}", policy


def _bundled(text: str, name: VersionName) -> "tuple[str, OnnxPolicy]":
    versions = sorted((BUNDLED / name.policy).glob(f"*/{MODEL_FILE}"), key=lambda path: int(path.parent.name))
    wanted = [path for path in versions if name.version in ("", path.parent.name) and name.alias in ("", CHAMPION)]
    if not wanted:
        known = ", ".join(sorted(f"{path.parent.name}/{path.name}" for path in BUNDLED.glob("*/*"))) or "none"
        raise RegistryError(f"no bundled policy {text!r}; bundled are {known}; set MLFLOW_TRACKING_URI for a registry")
    return f"{name.policy}/{wanted[-1].parent.name}", _loaded(wanted[-1])


def _loaded(model: bytes | Path) -> "OnnxPolicy":
    from polserve.training.versions.onnx_policy import OnnxPolicy

    return OnnxPolicy(model)
