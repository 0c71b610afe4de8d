"""Policy versions in a folder: policies/<name>/<version>/, the highest version answers."""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from protos.names import CHAMPION, GOLDEN_FILE, MODEL_FILE, POLICY_NAME
from serving.errors import ConfigurationError
from serving.sources.source import Desired, RegistryStatus, Verdict, VersionRef


class FolderSource:
    """Follows a folder.

    A policy or version may be copied in while the service runs: under a name that is none, such as .copying, and then
    renamed.
    """

    def __init__(self, folder: Path, policies: Sequence[str], poll_interval_s: float) -> None:
        """Read `folder`, only the `policies` named, or all of them when none is.

        Raises:
            ConfigurationError: there is no such folder.
        """
        if not folder.is_dir():
            raise ConfigurationError(
                f"policies: expected a folder of policies/<name>/<version>/, got {folder}; "
                "set --policies, or MLFLOW_TRACKING_URI to follow a registry"
            )
        self._folder = folder
        self._policies = frozenset(policies)
        self._poll_interval_s = poll_interval_s
        self._closed = threading.Event()
        self._hashes: dict[tuple[Path, str], str] = {}

    def follow(self) -> Iterator[Desired]:
        """The highest version of each policy, again whenever the folder changed."""
        before: Desired | None = None
        while True:
            desired = self._read()
            if desired != before:
                before = desired
                yield desired
            if self._closed.wait(self._poll_interval_s):
                return

    def registry(self) -> RegistryStatus | None:
        """None: a folder has no registry."""
        return None

    def tell(self, verdicts: Sequence[Verdict], live: Mapping[str, Mapping[str, str]]) -> None:
        """Nothing: a folder keeps no record."""

    def close(self) -> None:
        """Stop following."""
        self._closed.set()

    def _read(self) -> Desired:
        desired = {}
        for folder in sorted(self._folder.iterdir()):
            if not POLICY_NAME.fullmatch(folder.name) or (self._policies and folder.name not in self._policies):
                continue
            versions = [path for path in folder.glob("*") if path.name.isdecimal() and (path / MODEL_FILE).is_file()]
            if versions:
                newest = max(versions, key=lambda path: int(path.name))
                desired[folder.name] = {CHAMPION: self._reference(folder.name, newest)}
        return desired

    def _reference(self, policy: str, folder: Path) -> VersionRef:
        files = (folder / MODEL_FILE, folder / GOLDEN_FILE)
        stamp = " ".join(f"{file.stat().st_mtime_ns}/{file.stat().st_size}" for file in files if file.exists())
        if (folder, stamp) not in self._hashes:
            self._hashes[folder, stamp] = hashlib.sha256(files[0].read_bytes()).hexdigest()
        return VersionRef(policy, folder.name, folder, self._hashes[folder, stamp], stamp)
