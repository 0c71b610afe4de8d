"""Downloads of versions from the registry to the cache; what fails is tried again, less and less often."""

import hashlib
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from polserve.protos.shared.names import GOLDEN_FILE, MODEL_FILE, SHA256_TAG
from polserve.protos.shared.packages import missing_package
from polserve.protos.shared.signing import MOST_SIGNATURE_BYTES, SIGNATURE_FILE
from polserve.serving.errors import RolloutRefused, one_line
from polserve.serving.sources.cache import VersionCache
from polserve.serving.versions import VersionRef

MIB = 2**20
SPARE_BYTES = 16 * MIB
"""Bytes that stay free on the disk."""
LONGEST_RETRY_S = 300.0


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a version, as a store lists it."""

    path: str
    """Relative path as the store has it: not to be trusted."""
    n_bytes: int


class ArtifactStore(Protocol):
    """Where the files of registered versions are; whatever a store does wrong is raised as it comes."""

    def storage(self, policy: str, version: str) -> str:
        """Return where a version's files are, for `files` and `download`."""

    def files(self, storage: str) -> list[Artifact]:
        """List the files in a folder, those in folders below it left out."""

    def download(self, storage: str, target: Path) -> None:
        """Write the file at `storage` into the folder `target`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version could not be downloaded, and when to try again."""

    reason: str
    delay_s: float
    """Seconds from the failure to the next try."""
    retry_at: float
    """When it is tried again, by the monotonic clock."""


class Fetcher:
    """Downloads of the two files of a version that serving needs, and of nothing else that a store may hold."""

    def __init__(self, store: ArtifactStore, cache: VersionCache, *, max_bytes: int, retry_s: float) -> None:
        """Try what fails again after `retry_s`, then after twice as long, and so on."""
        self._store = store
        self._cache = cache
        self._max_bytes = max_bytes
        self._retry_s = retry_s
        self._failures: dict[VersionRef, Failure] = {}

    def fetch(self, ref: VersionRef) -> None:
        """Bring a version's files into the cache, unless it holds them.

        Raises:
            RolloutRefused: they cannot be had, or could not when they were last asked for, a short while ago.
        """
        if self._cache.holds(ref):
            self._failures.pop(ref, None)
            return
        failure = self._failures.get(ref)
        if failure is not None and time.monotonic() < failure.retry_at:
            raise RolloutRefused(failure.reason)
        try:
            self._download(ref)
        except Exception as error:
            delay_s = min(2 * failure.delay_s, LONGEST_RETRY_S) if failure else self._retry_s
            reason = str(error) if isinstance(error, RolloutRefused) else _reason(error)
            self._failures[ref] = Failure(reason, delay_s, time.monotonic() + delay_s)
            raise RolloutRefused(reason) from error
        self._failures.pop(ref, None)

    def fetch_signatures(self, ref: VersionRef, *, is_new: bool) -> str:
        """Bring the signatures of a version that the cache holds into it, where the store has any.

        Args:
            ref: the version.
            is_new: whether to ask the store also where the cache has some.

        Returns:
            A mark that changes with them; empty where there are none.
        """
        path = ref.folder / SIGNATURE_FILE
        if is_new or not path.exists():
            storage = self._store.storage(ref.policy, ref.version)
            listed = self._store.files(f"{storage}/{SIGNATURE_FILE.parent}")
            sizes = [one.n_bytes for one in listed if PurePosixPath(one.path).name == SIGNATURE_FILE.name]
            if sizes and sizes[0] <= MOST_SIGNATURE_BYTES:
                with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as partial:
                    self._store.download(f"{storage}/{SIGNATURE_FILE.as_posix()}", Path(partial))
                    (Path(partial) / SIGNATURE_FILE.name).replace(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else ""

    def forget_all_but(self, named: Iterable[VersionRef]) -> None:
        """Forget the failures of versions that are not named, which are tried at once when they are named again."""
        kept = {replace(ref, problem=None) for ref in named}
        self._failures = {ref: failure for ref, failure in self._failures.items() if ref in kept}

    def _download(self, ref: VersionRef) -> None:
        """Download a version into the cache.

        Raises:
            RolloutRefused: the store holds something else. What the store or the disk raises is passed on.
        """
        if not ref.sha256:
            raise RolloutRefused(
                f"the version has no tag {SHA256_TAG}; make one of its ONNX file with `polserve import onnx`"
            )
        storage = self._store.storage(ref.policy, ref.version)
        paths = (PurePosixPath(MODEL_FILE), PurePosixPath(GOLDEN_FILE.as_posix()))
        sizes = [self._size(storage, path) for path in paths]
        self._check_room(sum(sizes))

        def fill(folder: Path) -> None:
            for path in paths:
                target = folder / path.parent
                target.mkdir(exist_ok=True)
                self._store.download(f"{storage}/{path}", target)

        self._cache.put(ref, fill)

    def _size(self, storage: str, path: PurePosixPath) -> int:
        """Return the size in bytes of a file of the version, as the store lists it."""
        folder = "" if path.parent == PurePosixPath() else f"/{path.parent}"
        listed = self._store.files(storage + folder)
        _check_paths(listed)
        sizes = [artifact.n_bytes for artifact in listed if PurePosixPath(artifact.path).name == path.name]
        if not sizes:
            raise RolloutRefused(
                f"the version's artifacts lack {path}; register it with `polserve train` or `polserve import`"
            )
        return sizes[0]

    def _check_room(self, n_bytes: int) -> None:
        """Raise RolloutRefused where a version is larger than it may be, or than there is room for."""
        if n_bytes > self._max_bytes:
            raise RolloutRefused(
                f"the version is {n_bytes // MIB:,} MiB, the limit is {self._max_bytes // MIB:,}; "
                "raise --max-artifact-mib if it is meant to be that large"
            )
        free = self._cache.free_bytes()
        if n_bytes + SPARE_BYTES > free:
            raise RolloutRefused(
                f"the version takes {n_bytes / MIB:,.1f} MiB and the cache has room for "
                f"{max(0.0, (free - SPARE_BYTES) / MIB):,.1f}; make room for --cache-dir"
            )


def _check_paths(listed: Iterable[Artifact]) -> None:
    """Raise RolloutRefused where a store names a file outside of the version."""
    for artifact in listed:
        path = PurePosixPath(artifact.path)
        if path.is_absolute() or ".." in path.parts:
            raise RolloutRefused(f"the version's artifacts have an unsafe path: {artifact.path!r}")


def _reason(error: Exception) -> str:
    """Say in one line why a download failed."""
    reason = missing_package(error) if isinstance(error, ModuleNotFoundError) else one_line(error)
    return f"its files cannot be had: {reason}"
