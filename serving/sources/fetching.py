"""From a version in the registry to its files in the cache; what fails is tried again, less and less often."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from polserve.protos.shared.names import GOLDEN_FILE, MODEL_FILE, SHA256_TAG
from polserve.protos.shared.packages import missing_package
from polserve.serving.errors import RolloutRefused, one_line
from polserve.serving.sources.cache import Reference, VersionCache
from polserve.serving.sources.registry import Artifact, Registry

MIB = 2**20
SPARE_BYTES = 16 * MIB
"""That stay free on the disk."""
LONGEST_RETRY_S = 300.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A version that could not be had."""

    problem: str
    delay_s: float
    """Until it is tried again."""
    retry_at: float
    """By the monotonic clock."""


class Fetcher:
    """Brings the two files of a version that serving needs, and nothing else that a store may hold."""

    def __init__(self, registry: Registry, cache: VersionCache, *, max_bytes: int, retry_s: float) -> None:
        """What fails is tried again after `retry_s`, then after twice as long, and so on."""
        self._registry = registry
        self._cache = cache
        self._max_bytes = max_bytes
        self._retry_s = retry_s
        self._failures: dict[Reference, Failure] = {}

    def fetch(self, ref: Reference) -> Reference:
        """The reference, whose files the cache holds; or with the problem that keeps it from holding them."""
        if self._cache.holds(ref):
            self._failures.pop(ref, None)
            return ref
        failure = self._failures.get(ref)
        if failure is None or time.monotonic() >= failure.retry_at:
            try:
                self._download(ref)
            except Exception as error:  # noqa: BLE001 - whatever a store does wrong, the version cannot be had
                delay_s = min(2 * failure.delay_s, LONGEST_RETRY_S) if failure else self._retry_s
                failure = self._failures[ref] = Failure(_problem(error), delay_s, time.monotonic() + delay_s)
            else:
                self._failures.pop(ref, None)
                return ref
        return replace(ref, problem=failure.problem)

    def forget_all_but(self, named: Iterable[Reference]) -> None:
        """A version that is not named is tried at once when it is named again."""
        kept = {replace(ref, problem="") for ref in named}
        self._failures = {ref: failure for ref, failure in self._failures.items() if ref in kept}

    def _download(self, ref: Reference) -> None:
        """The cache holds the version.

        Raises:
            RolloutRefused: the store holds something else. What the store or the disk raises is passed on.
        """
        if not ref.sha256:
            raise RolloutRefused(f"the version has no tag {SHA256_TAG}; register it with `polserve train`")
        storage = self._registry.storage(ref.policy, ref.version)
        paths = (PurePosixPath(MODEL_FILE), PurePosixPath(GOLDEN_FILE.as_posix()))
        sizes = [self._size(storage, path) for path in paths]
        self._check_room(sum(sizes))

        def fill(folder: Path) -> None:
            for path in paths:
                target = folder / path.parent
                target.mkdir(exist_ok=True)
                self._registry.download(f"{storage}/{path}", target)

        sha256 = self._cache.put(ref, fill)
        if sha256 != ref.sha256:
            raise RolloutRefused(
                f"sha256 of model.onnx: expected {ref.sha256}, got {sha256}; it was truncated on the way, or changed "
                "after it was registered"
            )

    def _size(self, storage: str, path: PurePosixPath) -> int:
        """The size of a file of the version, by what the store lists."""
        folder = "" if path.parent == PurePosixPath() else f"/{path.parent}"
        listed = self._registry.files(storage + folder)
        _check_paths(listed)
        sizes = [artifact.n_bytes for artifact in listed if PurePosixPath(artifact.path).name == path.name]
        if not sizes:
            raise RolloutRefused(f"the version's artifacts lack {path}; register it with `polserve train`")
        return sizes[0]

    def _check_room(self, n_bytes: int) -> None:
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


def _problem(error: Exception) -> str:
    if isinstance(error, RolloutRefused):
        return str(error)
    reason = missing_package(error) if isinstance(error, ModuleNotFoundError) else one_line(error)
    return f"its files cannot be had: {reason}"
