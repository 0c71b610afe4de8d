"""The versions that a follower keeps on disk, and which of them were live last."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from hashlib import file_digest
from pathlib import Path

from polserve.protos.shared.durable import move_folder, replace_file
from polserve.protos.shared.names import MODEL_FILE
from polserve.serving.errors import RolloutRefused, one_line
from polserve.serving.logs import Log
from polserve.serving.processes.encoding import Message, decode_each, decode_ref, encode_each, encode_ref
from polserve.serving.versions import DesiredVersions, VersionRef, every

LIVE_FILE = "live.json"
CHECKSUMS_FILE = "checksums.json"
"""File in a version's folder with the sha256 of each of its files as they came, by path."""
PARTIAL = ".download-"
"""Prefix of the folders that downloads are written to."""

log = Log()


class VersionCache:
    """Versions in a folder of <policy>/<version>/, each complete or not there, and the last good state in live.json."""

    def __init__(self, folder: Path) -> None:
        """Open what an earlier process left, but for its unfinished downloads."""
        self._folder = folder
        self._held: set[VersionRef] = set()
        """Versions that were found to be sound, which is not looked at twice."""
        for leftover in folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        self.good = self._read_good()
        """What was live when `remember` was last told."""

    def ref(self, policy: str, version: str, sha256: str) -> VersionRef:
        """Make the reference of a version whose files are, or will be, in this cache."""
        return VersionRef(policy, version, self._folder / policy / version, sha256)

    def holds(self, ref: VersionRef) -> bool:
        """Return whether a version is here as it came, with the model that was registered."""
        if ref not in self._held and self._is_sound(ref):
            self._held.add(ref)
        return ref in self._held

    def free_bytes(self) -> int:
        """Return the bytes that are free on the disk."""
        return shutil.disk_usage(self._folder).free

    def put(self, ref: VersionRef, fill: Callable[[Path], None]) -> None:
        """Keep the files that `fill` writes into the folder that it is given, if the model is the registered one.

        Raises:
            RolloutRefused: the model is another one.
            OSError: the files cannot be written. What `fill` raises is passed on; in all cases nothing is kept.
        """
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=self._folder) as partial:
            filled = Path(partial) / ref.version
            filled.mkdir()
            fill(filled)
            files = [path for path in filled.rglob("*") if path.is_file()]
            checksums = {path.relative_to(filled).as_posix(): _sha256(path) for path in files}
            (filled / CHECKSUMS_FILE).write_text(json.dumps(checksums))
            if checksums[MODEL_FILE] != ref.sha256:
                raise RolloutRefused(
                    f"sha256 of model.onnx: expected {ref.sha256}, got {checksums[MODEL_FILE]}; it was truncated on "
                    "the way, or changed after it was registered"
                )
            ref.folder.parent.mkdir(exist_ok=True)
            self._delete(ref.folder)
            move_folder(filled, ref.folder)

    def remember(self, good: DesiredVersions, named: Iterable[VersionRef]) -> None:
        """Save `good` as the last good state, and delete every version that neither it nor `named` has.

        Raises:
            OSError: the state cannot be written; then nothing is deleted.
        """
        if good != self.good:
            replace_file(self._folder / LIVE_FILE, json.dumps(encode_each(good, encode_ref)))
            self.good = good
        kept = {ref.folder for ref in (*every(good), *named)}
        for folder in self._folder.glob("[!.]*/*"):
            if folder.is_dir() and folder not in kept:
                self._delete(folder)

    def _delete(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._held = {ref for ref in self._held if ref.folder != folder}

    def _is_sound(self, ref: VersionRef) -> bool:
        folder = ref.folder
        try:
            checksums = json.loads((folder / CHECKSUMS_FILE).read_text())
            is_sound = all(_sha256(folder / path) == sha256 for path, sha256 in checksums.items())
            return bool(is_sound and checksums[MODEL_FILE] == ref.sha256)
        except (OSError, ValueError, KeyError, AttributeError):
            return False

    def _read_good(self) -> DesiredVersions:
        """Read the last good state that an earlier process saved; nothing where there is none."""
        path = self._folder / LIVE_FILE
        try:
            saved = json.loads(path.read_text())
            return decode_each(saved, lambda ref: decode_ref({**ref, "folder": self._place(ref)}))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # A damaged record costs the start without a registry, and nothing where the registry answers.
            log.warning("last_good_unreadable", path=str(path), error=one_line(error))
            return {}

    def _place(self, ref: Message) -> Path:
        """Return where this cache has a version, whatever its folder was called when the state was saved."""
        return self._folder / str(ref["policy"]) / str(ref["version"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
