"""What is in a folder of policies is followed, or it is said why not."""

import os
import shutil
from pathlib import Path

import pytest

from polserve.protos.shared.names import CHAMPION, GOLDEN_FILE
from polserve.serving.errors import ConfigurationError
from polserve.serving.sources.folder_source import FolderSource
from tests.support.running import service, wait_until
from tests.support.versions import make_version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with version 2 of one policy."""
    make_version().write(tmp_path / "policies" / "cartpole" / "2")
    return tmp_path / "policies"


def read(folder: Path) -> tuple[dict[str, str], list[str]]:
    """The champions of the folder, and what was ignored."""
    source = FolderSource(folder, [], 0.01)
    desired = next(source.follow())
    return {name: refs[CHAMPION].version for name, refs in desired.items()}, list(source.ignored())


def test_what_is_known_at_once_is_what_is_followed_first(folder: Path) -> None:
    source = FolderSource(folder, [], 0.01)
    at_once = source.desired_at_once()
    assert at_once["cartpole"][CHAMPION].version == "2"
    assert next(source.follow()) == at_once


@pytest.mark.parametrize(
    ("made", "path", "reason"),
    [
        ("cartpole/3/notes.txt", "cartpole/3", "expected model.onnx in it"),
        ("cartpole/3/model.onnx/x", "cartpole/3", "expected model.onnx in it"),
        ("cartpole/v3/model.onnx", "cartpole/v3", "expected the folder of a version, whose name is a number"),
        ("cartpole/-3/model.onnx", "cartpole/-3", "expected the folder of a version, whose name is a number"),
        ("cartpole/3", "cartpole/3", "expected the folder of a version, whose name is a number"),
        ("cartpole/model.onnx", "cartpole/model.onnx", "expected it in the folder of a version, such as "),
        ("notes.txt", "notes.txt", "expected the folder of a policy, got another file"),
        ("cart pole/1/model.onnx", "cart pole", "expected a name of letters, digits, '-', '_' and '.'"),
        ("go/notes/x", "go/notes", "expected the folder of a version, whose name is a number"),
    ],
)
def test_what_is_no_version_is_told(folder: Path, made: str, path: str, reason: str) -> None:
    (folder / made).parent.mkdir(parents=True, exist_ok=True)
    (folder / made).touch()
    champions, (told,) = read(folder)
    assert told.startswith(f"{folder / path}: {reason}")
    assert champions == {"cartpole": "2"}


def test_a_policy_without_a_version_is_told(folder: Path) -> None:
    (folder / "go").mkdir()
    assert read(folder)[1] == [
        f"{folder / 'go'}: expected a version in it, such as {folder / 'go' / '1' / 'model.onnx'}"
    ]


def test_a_policy_that_is_asked_for_and_not_there_is_told_with_those_that_are(folder: Path) -> None:
    make_version().write(folder / "go" / "1")
    source = FolderSource(folder, ["go", "cartpol"], 0.01)
    assert list(next(source.follow())) == ["go"]
    assert source.ignored() == (f"{folder}: expected cartpol, as asked for, got cartpole, go; correct --policy",)


def test_what_is_still_being_copied_is_not_told(folder: Path) -> None:
    for name in (".copying/1", "cartpole/.3"):
        (folder / name).mkdir(parents=True)
    assert read(folder)[1] == []


def test_what_cannot_be_read_leaves_what_was_live_and_is_told_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FolderSource(folder, [], 0.01)
    seen = source.follow()
    before = next(seen)
    broken = folder / "cartpole" / "3" / "model.onnx"
    broken.parent.mkdir()
    broken.symlink_to("/proc/self/mem")  # whose first bytes nobody may read
    make_version().write(folder / "go" / "1")
    assert next(seen)["cartpole"] == before["cartpole"]
    folder.rename(folder.with_name("moved"))
    source._read()  # noqa: SLF001 - nothing changes, so that nothing is yielded
    (told,) = source.ignored()
    assert told == f"{folder}: cannot be read (No such file or directory); what was live before stays"
    logged = [line.split(" path=")[1].split()[0] for line in capsys.readouterr().err.splitlines()]
    assert logged == [str(folder / "cartpole"), str(folder)]


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("cartpole", "the folder of one policy with the versions 2; give --policies"),
        ("cartpole/2", "a version itself; give the folder two above it"),
        ("cartpole/2/model.onnx", "set --policies, or MLFLOW_TRACKING_URI"),
        ("nowhere", "set --policies, or MLFLOW_TRACKING_URI"),
    ],
)
def test_a_folder_of_another_level_is_refused(folder: Path, level: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match="policies: expected a folder of policies/<name>/") as refusal:
        FolderSource(folder / level, [], 1.0)
    assert message in str(refusal.value)


def test_a_folder_serves_its_highest_version_and_sees_a_new_one(tmp_path: Path) -> None:
    for number in ("2", "10"):
        make_version().write(tmp_path / "cartpole" / number)
    (tmp_path / "cartpole" / "notes").mkdir()
    source = FolderSource(tmp_path, [], poll_interval_s=0.01)
    desired = source.follow()

    assert next(desired)["cartpole"][CHAMPION].version == "10"
    (tmp_path / "cartpole" / "10" / GOLDEN_FILE).touch()
    os.utime(tmp_path / "cartpole" / "10" / GOLDEN_FILE, (1, 1))
    assert next(desired)["cartpole"][CHAMPION].version == "10", "changed files are desired anew"
    shutil.copytree(tmp_path / "cartpole" / "10", tmp_path / "cartpole" / ".11")
    (tmp_path / "cartpole" / ".11").rename(tmp_path / "cartpole" / "11")
    shutil.copytree(tmp_path / "cartpole", tmp_path / ".copying")
    seen = next(desired)
    assert seen["cartpole"][CHAMPION].version == "11"
    assert seen.keys() == {"cartpole"}
    source.close()
    assert list(desired) == []


def test_what_is_ignored_is_on_the_pages(folder: Path) -> None:
    (folder / "notes.txt").touch()
    with service("--policies", str(folder), folder=folder.parent) as running:
        wait_until(running.is_up, running.log)
        assert running.ready()["ignored"] == [
            f"{folder / 'notes.txt'}: expected the folder of a policy, got another file"
        ]
