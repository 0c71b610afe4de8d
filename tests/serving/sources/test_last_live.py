"""What answered from a folder before a new start is what new versions are compared with after it."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.names import CHAMPION, MODEL_FILE
from polserve.serving.sources.folder_source import FolderSource
from polserve.serving.sources.last_live import FILE, LastLive, LastVersion
from polserve.serving.versions import ByAlias
from tests.support.commands import polserve_here
from tests.support.following import answering, promoted, register_changed, serve
from tests.support.local_workers import LoaderOnly
from tests.support.running import page, service, wait_until
from tests.support.versions import make_frames_version, make_version

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

LAST = LastVersion("1", "a" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with version 1 of one policy."""
    make_version().write(tmp_path / "policies" / "cartpole" / "1")
    return tmp_path / "policies"


def other_spaces(folder: Path, number: str) -> None:
    """Put a version with other observations into the policy's folder."""
    make_frames_version().write(folder / "cartpole" / number)


def start(folder: Path) -> tuple[FolderSource, ByAlias[str], list[str]]:
    """What answers after a new start, and the reasons of what was refused."""
    source = FolderSource(folder, [], 0.01, folder.parent / "state")
    rollout = LoaderOnly().rollout()
    at_once = source.desired_at_once()
    for i, desired in enumerate(source.follow()):
        assert i or desired == at_once, "what is known at once comes first"
        source.tell(rollout.apply(desired), rollout.aliases)
        if desired == source._read():  # noqa: SLF001 - nothing else is yielded until the folder changes
            source.close()
    return source, rollout.aliases, [str(one["reason"]) for one in rollout.refused()]


def test_a_version_with_other_spaces_does_not_go_live_by_a_new_start(folder: Path) -> None:
    start(folder)
    other_spaces(folder, "2")
    for _ in range(2):
        _, live, refused = start(folder)
        assert live == {"cartpole": {CHAMPION: "1"}}
        assert "observation space: expected float32 (4,), as the live version 1 has, got uint8" in refused[0]


def test_a_version_with_the_same_spaces_goes_live_at_a_new_start(folder: Path) -> None:
    start(folder)
    make_version(1).write(folder / "cartpole" / "2")
    assert start(folder)[1:] == ({"cartpole": {CHAMPION: "2"}}, [])


@pytest.mark.parametrize("is_changed", [False, True])
def test_where_the_version_before_is_gone_or_changed_nothing_is_compared(
    folder: Path,
    is_changed: bool,  # noqa: FBT001 - a case
) -> None:
    start(folder)
    shutil.rmtree(folder / "cartpole" / "1")
    if is_changed:
        make_version(1).write(folder / "cartpole" / "1")
    other_spaces(folder, "2")
    assert start(folder)[1:] == ({"cartpole": {CHAMPION: "2"}}, [])


def test_the_record_of_a_policy_stays_while_nothing_of_it_is_live(tmp_path: Path) -> None:
    record = LastLive(tmp_path / "state")
    record.note({"cartpole": LAST})
    record.note({})
    record.note({"go": LAST})
    assert LastLive(tmp_path / "state").find("cartpole") == LAST


@pytest.mark.parametrize("text", ["", "[]", '{"cartpole": 1}', '{"cartpole": {"version": "1"}}'])
def test_a_damaged_record_costs_a_comparison_and_is_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    record = LastLive(tmp_path)
    assert record.find("cartpole") is None
    record.note({"cartpole": LAST})
    assert LastLive(tmp_path).find("cartpole") == LAST


def test_a_record_that_cannot_be_written_is_logged_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").touch()
    record = LastLive(tmp_path / "state")
    for _ in range(2):
        record.note({"cartpole": LAST})
    assert capsys.readouterr().err.count("event=last_live_not_saved") == 1
    assert record.find("cartpole") == LAST


def test_a_record_on_a_read_only_disk_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = iter(range(9))

    def fail(_path: Path, _text: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f".live.json.{next(numbers)}")

    monkeypatch.setattr("polserve.serving.sources.last_live.replace_file", fail)
    record = LastLive(tmp_path)
    for _ in range(3):
        record.note({"cartpole": LAST})
    assert capsys.readouterr().err.count("event=last_live_not_saved") == 1


def test_a_model_that_took_the_place_of_the_live_one_and_was_refused_is_not_what_answered(folder: Path) -> None:
    source, rollout = FolderSource(folder, [], 0.01, folder.parent / "state"), LoaderOnly().rollout()
    seen = source.follow()
    source.tell(rollout.apply(next(seen)), rollout.aliases)
    before = LastLive(folder.parent / "state").find("cartpole")
    assert before is not None
    (folder / "cartpole" / "1" / MODEL_FILE).write_bytes(b"no graph")
    source.tell(rollout.apply(next(seen)), rollout.aliases)
    assert len(rollout.refused()) == 1
    source.tell([], rollout.aliases)
    assert LastLive(folder.parent / "state").find("cartpole") == before


def test_readyz_the_home_page_and_the_command_line_tell_what_was_refused(folder: Path) -> None:
    options = ("--policies", str(folder), "--poll-interval", "0.3", "--cache-dir", str(folder.parent / "cache"))
    with service(*options, folder=folder.parent) as running:
        wait_until(running.is_up, running.log)
        assert "refused" not in running.ready()
        other_spaces(folder, "2")
        wait_until(lambda: "refused" in running.ready(), running.log)
        (told,) = running.ready()["refused"]
        assert (told["policy"], told["alias"], told["version"], told["live"]) == ("cartpole", "champion", "2", "1")
        assert "--allow-space-change" in told["reason"]
        assert f"cartpole/2, which @champion names, was refused: {told['reason']}" in page(running.http_url)[1]
        described = polserve_here("policies", "cartpole", "--target", running.target, "--http", running.http_url)
        line = "@champion names version 2, which was refused; 1 answers instead: observation space"
        assert line in described.stdout, described.stderr


def test_a_registry_s_version_with_other_spaces_does_not_go_live_by_a_new_start(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    other = register_changed(store, policy, make_frames_version())
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(running.is_up, running.log)
    promoted(store, policy, other, "for the test")
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: "refused" in running.ready(), running.log)
        assert [one["version"] for one in running.ready()["refused"]] == [other]
        assert answering(running, policy) == "1"
