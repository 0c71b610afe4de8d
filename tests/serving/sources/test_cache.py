"""The versions that a follower keeps on disk: each whole and as it was registered, or not there."""

import hashlib
import json
from pathlib import Path

import pytest

from polserve.protos.shared.names import CHAMPION, MODEL_FILE
from polserve.serving.errors import RolloutRefused
from polserve.serving.sources.cache import LIVE_FILE, VersionCache
from polserve.serving.versions import VersionRef

MODEL = b"a model"


def put(cache: VersionCache, policy: str, version: str, model: bytes = MODEL) -> VersionRef:
    """A version whose registered checksum is that of MODEL, of which `model` came."""
    ref = cache.ref(policy, version, hashlib.sha256(MODEL).hexdigest())

    def fill(folder: Path) -> None:
        (folder / MODEL_FILE).write_bytes(model)

    cache.put(ref, fill)
    return ref


def test_a_version_that_was_put_is_held_by_every_cache_on_the_folder(tmp_path: Path) -> None:
    ref = put(VersionCache(tmp_path), "go", "1")
    assert VersionCache(tmp_path).holds(ref)
    assert (ref.folder / MODEL_FILE).read_bytes() == MODEL


def test_a_version_that_came_changed_is_refused_and_not_kept(tmp_path: Path) -> None:
    cache = VersionCache(tmp_path)
    with pytest.raises(RolloutRefused, match=r"sha256 of model\.onnx: expected .*, got .*; it was truncated"):
        put(cache, "go", "1", MODEL[:3])
    assert not list(tmp_path.iterdir())


def test_a_download_that_fails_midway_leaves_the_version_before_it(tmp_path: Path) -> None:
    cache = VersionCache(tmp_path)
    ref = put(cache, "go", "1")

    def fill(folder: Path) -> None:
        (folder / MODEL_FILE).write_bytes(MODEL[:3])
        raise ConnectionError("the store hung up")

    with pytest.raises(ConnectionError):
        cache.put(ref, fill)
    assert VersionCache(tmp_path).holds(ref)


@pytest.mark.parametrize("name", [MODEL_FILE, "checksums.json"])
def test_a_version_that_was_damaged_on_disk_is_not_held(tmp_path: Path, name: str) -> None:
    ref = put(VersionCache(tmp_path), "go", "1")
    (ref.folder / name).write_bytes(b"{}")
    assert not VersionCache(tmp_path).holds(ref)


def test_the_last_good_state_outlives_the_process_and_the_folders_name(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    cache = VersionCache(tmp_path / "old")
    ref = put(cache, "go", "1")
    cache.remember({"go": {CHAMPION: ref}}, [])
    (tmp_path / "old").rename(tmp_path / "new")
    moved = VersionCache(tmp_path / "new")
    assert moved.good == {"go": {CHAMPION: moved.ref("go", "1", ref.sha256)}}
    assert moved.holds(moved.good["go"][CHAMPION])


def test_versions_that_are_neither_good_nor_named_are_deleted(tmp_path: Path) -> None:
    cache = VersionCache(tmp_path)
    good, named, other = (put(cache, "go", version) for version in "123")
    cache.remember({"go": {CHAMPION: good}}, [named])
    assert [cache.holds(ref) for ref in (good, named, other)] == [True, True, False]
    assert not other.folder.exists()


def test_a_state_that_an_earlier_release_saved_is_read(tmp_path: Path) -> None:
    saved = {"policy": "go", "version": "1", "sha256": "ab", "problem": ""}
    (tmp_path / LIVE_FILE).write_text(json.dumps({"go": {CHAMPION: saved}}))
    cache = VersionCache(tmp_path)
    assert cache.good == {"go": {CHAMPION: cache.ref("go", "1", "ab")}}


@pytest.mark.parametrize("content", ["", "[]", '{"go": {"champion": {}}}', '{"go": 1}', '{"go": {"champion": 1}}'])
def test_a_state_that_cannot_be_read_is_nothing_and_told(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LIVE_FILE).write_text(content)
    assert VersionCache(tmp_path).good == {}
    (line,) = capsys.readouterr().err.splitlines()
    assert " event=last_good_unreadable " in line


def test_an_empty_folder_is_no_reason_to_complain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert VersionCache(tmp_path).good == {}
    assert capsys.readouterr().err == ""
