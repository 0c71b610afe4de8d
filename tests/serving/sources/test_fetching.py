"""What is downloaded of a version, what is refused, and when it is tried again."""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from polserve.protos.shared.names import GOLDEN_FILE, MODEL_FILE
from polserve.serving.errors import RolloutRefused
from polserve.serving.sources.cache import VersionCache
from polserve.serving.sources.fetching import Artifact, Fetcher
from polserve.serving.versions import VersionRef

MODEL = b"a model"


@dataclass
class FolderStore:
    """A store whose files are in a folder, and which remembers what was asked of it."""

    folder: Path
    extra: list[Artifact] = field(default_factory=list)
    """Files that it lists and does not have."""
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def storage(self, policy: str, version: str) -> str:
        self.asked.append("storage")
        if self.error is not None:
            raise self.error
        return str(self.folder / policy / version)

    def files(self, storage: str) -> list[Artifact]:
        found = [path for path in Path(storage).iterdir() if path.is_file()] if Path(storage).is_dir() else []
        return [Artifact(path.name, path.stat().st_size) for path in found] + self.extra

    def download(self, storage: str, target: Path) -> None:
        self.asked.append(Path(storage).name)
        shutil.copy(storage, target)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A store with one version, which has more files than serving needs."""
    folder = tmp_path / "store" / "go" / "1"
    (folder / GOLDEN_FILE).parent.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(MODEL)
    (folder / GOLDEN_FILE).write_bytes(b"golden observations")
    (folder / "optimizer.pt").write_bytes(bytes(1000))
    return FolderStore(tmp_path / "store")


@pytest.fixture
def cache(tmp_path: Path) -> VersionCache:
    (tmp_path / "cache").mkdir()
    return VersionCache(tmp_path / "cache")


@pytest.fixture
def ref(cache: VersionCache) -> VersionRef:
    return cache.ref("go", "1", hashlib.sha256(MODEL).hexdigest())


def fetcher(store: FolderStore, cache: VersionCache, *, max_bytes: int = 2**20, retry_s: float = 1000.0) -> Fetcher:
    return Fetcher(store, cache, max_bytes=max_bytes, retry_s=retry_s)


def refusal(fetching: Fetcher, ref: VersionRef) -> str:
    with pytest.raises(RolloutRefused) as refused:
        fetching.fetch(ref)
    return str(refused.value)


def test_the_two_files_that_serving_needs_are_downloaded_once_and_nothing_else(
    store: FolderStore, cache: VersionCache, ref: VersionRef
) -> None:
    fetching = fetcher(store, cache)
    for _ in range(2):
        fetching.fetch(ref)
    assert cache.holds(ref)
    assert store.asked == ["storage", MODEL_FILE, GOLDEN_FILE.name]


def test_a_version_that_lacks_a_file_is_refused(store: FolderStore, cache: VersionCache, ref: VersionRef) -> None:
    (store.folder / "go" / "1" / GOLDEN_FILE).unlink()
    assert refusal(fetcher(store, cache), ref) == (
        f"the version's artifacts lack {GOLDEN_FILE}; register it with `polserve train` or `polserve import`"
    )


def test_a_version_without_a_registered_checksum_is_refused_before_the_store_is_asked(
    store: FolderStore, cache: VersionCache
) -> None:
    reason = refusal(fetcher(store, cache), cache.ref("go", "1", ""))
    assert reason.startswith("the version has no tag polserve.sha256")
    assert reason.endswith("with `polserve import onnx`")
    assert store.asked == []


def test_a_model_that_was_truncated_on_the_way_is_refused(
    store: FolderStore, cache: VersionCache, ref: VersionRef
) -> None:
    (store.folder / "go" / "1" / MODEL_FILE).write_bytes(MODEL[:3])
    assert "it was truncated on the way, or changed" in refusal(fetcher(store, cache), ref)
    assert not cache.holds(ref)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd"])
def test_a_store_that_names_a_file_outside_of_the_version_is_refused(
    store: FolderStore, cache: VersionCache, ref: VersionRef, path: str
) -> None:
    store.extra.append(Artifact(path, 1))
    assert refusal(fetcher(store, cache), ref) == f"the version's artifacts have an unsafe path: {path!r}"


def test_a_version_above_the_limit_is_refused_before_it_is_downloaded(
    store: FolderStore, cache: VersionCache, ref: VersionRef
) -> None:
    assert "raise --max-artifact-mib" in refusal(fetcher(store, cache, max_bytes=len(MODEL)), ref)
    assert store.asked == ["storage"]


def test_a_version_that_the_disk_has_no_room_for_is_refused_before_it_is_downloaded(
    store: FolderStore, cache: VersionCache, ref: VersionRef
) -> None:
    with (store.folder / "go" / "1" / MODEL_FILE).open("wb") as sparse:
        sparse.truncate(cache.free_bytes() + 2**30)
    assert "make room for --cache-dir" in refusal(fetcher(store, cache, max_bytes=2**62), ref)
    assert store.asked == ["storage"]


def test_what_failed_is_refused_for_the_same_reason_until_it_is_time_to_try_again(
    store: FolderStore, cache: VersionCache, ref: VersionRef
) -> None:
    store.error = ConnectionError("the store is down\nand more")
    fetching = fetcher(store, cache)
    assert [refusal(fetching, ref) for _ in range(3)] == ["its files cannot be had: the store is down"] * 3
    assert store.asked == ["storage"]


def test_what_failed_is_had_by_itself_when_the_store_is_well_again(
    store: FolderStore, cache: VersionCache, ref: VersionRef
) -> None:
    store.error = ConnectionError("the store is down")
    fetching = fetcher(store, cache, retry_s=0.0)
    refusal(fetching, ref)
    store.error = None
    fetching.fetch(ref)
    assert cache.holds(ref)


def test_a_version_that_is_named_again_is_tried_at_once(
    store: FolderStore, cache: VersionCache, ref: VersionRef
) -> None:
    store.error = ConnectionError("the store is down")
    fetching = fetcher(store, cache)
    refusal(fetching, ref)
    store.error = None
    fetching.forget_all_but([ref])
    refusal(fetching, ref)
    fetching.forget_all_but([])
    fetching.fetch(ref)
    assert cache.holds(ref)


def test_a_store_whose_client_is_missing_is_told_with_the_package(
    store: FolderStore, cache: VersionCache, ref: VersionRef
) -> None:
    store.error = ModuleNotFoundError("No module named 'botocore'", name="botocore")
    assert "pip install 'boto3'" in refusal(fetcher(store, cache), ref)
