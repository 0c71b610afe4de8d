"""The versions that a follower keeps on disk, and which of them were live last."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TypeAlias

from polserve.protos.shared.names import MODEL_FILE

LIVE_FILE = "live.json"
CHECKSUMS_FILE = "checksums.json"
"""In a version's folder: sha256 of each of its files as they came, by path."""
PARTIAL = ".download-"


@dataclass(frozen=True, slots=True)
class Reference:
    """A version that an alias names."""

    policy: str
    version: str
    sha256: str
    """Of model.onnx, as registered."""
    problem: str = ""
    """Why its files cannot be had; empty when the cache holds them."""


References: TypeAlias = Mapping[str, Mapping[str, Reference]]
"""By policy and alias."""


class VersionCache:
    """A folder of <policy>/<version>/, each complete or not there, and the last good state in live.json."""

    def __init__(self, folder: Path) -> None:
        """Open what an earlier process left, but for its unfinished downloads."""
        self._folder = folder
        self._held: set[Reference] = set()
        """Versions that were found to be sound, which is not looked at twice."""
        for leftover in folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        self.good = self._read_good()
        """What was live when `remember` was last told."""

    def path(self, ref: Reference) -> Path:
        """The folder of a version."""
        return self._folder / ref.policy / ref.version

    def holds(self, ref: Reference) -> bool:
        """Whether the version is here as it came, and its model is the one that was registered."""
        if ref not in self._held and self._is_sound(ref):
            self._held.add(ref)
        return ref in self._held

    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self._folder).free

    def put(self, ref: Reference, fill: Callable[[Path], None]) -> str:
        """`fill` writes the version's files into the folder that it is given; they are kept if the model is the one.

        Returns:
            sha256 of the model that came; the version is here if it is the registered one.

        Raises:
            OSError: the files cannot be written. What `fill` raises is passed on; in both cases nothing is kept.
        """
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=self._folder) as partial:
            filled = Path(partial) / ref.version
            filled.mkdir()
            fill(filled)
            files = [path for path in filled.rglob("*") if path.is_file()]
            checksums = {path.relative_to(filled).as_posix(): _sha256(path) for path in files}
            (filled / CHECKSUMS_FILE).write_text(json.dumps(checksums))
            sha256 = checksums[MODEL_FILE]
            if sha256 == ref.sha256:
                folder = self.path(ref)
                folder.parent.mkdir(exist_ok=True)
                self._delete(folder)
                filled.rename(folder)
            return sha256

    def remember(self, good: References, named: Iterable[Reference]) -> None:
        """`good` is the last good state; all that neither it nor `named` has is deleted.

        Raises:
            OSError: the state cannot be written; then nothing is deleted.
        """
        if good != self.good:
            partial = self._folder / (LIVE_FILE + ".part")
            record = {name: {alias: asdict(ref) for alias, ref in refs.items()} for name, refs in good.items()}
            partial.write_text(json.dumps(record))
            partial.replace(self._folder / LIVE_FILE)
            self.good = good
        kept = {self.path(ref) for ref in (*all_of(good), *named)}
        for folder in self._folder.glob("[!.]*/*"):
            if folder.is_dir() and folder not in kept:
                self._delete(folder)

    def _delete(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._held = {ref for ref in self._held if self.path(ref) != folder}

    def _is_sound(self, ref: Reference) -> bool:
        folder = self.path(ref)
        try:
            checksums = json.loads((folder / CHECKSUMS_FILE).read_text())
            is_sound = all(_sha256(folder / path) == sha256 for path, sha256 in checksums.items())
            return bool(is_sound and checksums[MODEL_FILE] == ref.sha256)
        except (OSError, ValueError, KeyError, AttributeError):
            return False

    def _read_good(self) -> References:
        try:
            live = json.loads((self._folder / LIVE_FILE).read_text())
            return {name: {alias: Reference(**ref) for alias, ref in refs.items()} for name, refs in live.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def all_of(references: References) -> list[Reference]:
    """Every version named."""
    return [ref for refs in references.values() for ref in refs.values()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
