"""Files and folders that appear whole or not at all."""

from pathlib import Path

import pytest

from polserve.protos.shared.durable import move_folder, new_folder, replace_file


def test_a_file_that_cannot_be_written_leaves_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, "before")
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "after \ud800")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_gets_its_mode_before_its_name(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    replace_file(path, "text", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    replace_file(path, "more", 0o644)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_new_folder_has_no_name_that_counts_until_it_is_full_and_is_gone_where_filling_it_failed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "policy" / "1"
    with new_folder(path) as partial:
        (partial / "file").write_text("text")
        assert [one.name[0] for one in path.parent.iterdir()] == ["."]
    assert [one.name for one in path.parent.iterdir()] == ["1"]
    assert path.stat().st_mode & 0o777 == 0o755

    def fill(path: Path) -> None:
        with new_folder(path):
            raise ConnectionError("the store hung up")

    with pytest.raises(ConnectionError):
        fill(tmp_path / "policy" / "2")
    assert [one.name for one in path.parent.iterdir()] == ["1"]


def test_a_folder_appears_with_all_that_is_in_it_or_not_at_all(tmp_path: Path) -> None:
    new, path = tmp_path / "new", tmp_path / "1"
    (new / "inside").mkdir(parents=True)
    (new / "inside" / "file").write_text("text")
    move_folder(new, path)
    assert (path / "inside" / "file").read_text() == "text"
    assert not new.exists()
    (new / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"):
        move_folder(new, path)
    assert (path / "inside" / "file").read_text() == "text"
