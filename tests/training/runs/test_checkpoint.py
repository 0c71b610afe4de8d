"""A checkpoint is whole or is not there, whatever happens while it is written."""

import pickle
import resource
from pathlib import Path

import pytest
import torch

from polserve.training.errors import CheckpointError
from polserve.training.runs import checkpoint
from polserve.training.runs import folder as run_folder
from polserve.training.runs.initial_weights import read_weights_of


def test_a_truncated_checkpoint_is_refused_and_a_missing_one_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="start the run without --resume"):
        checkpoint.load(tmp_path)
    path = checkpoint.save(tmp_path, {"loop": {"step": 1}})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="is not a complete checkpoint"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(99), pickle.dumps({"loop": Path()})])
def test_a_file_that_is_no_checkpoint_is_told_in_a_sentence_without_torchs_words(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / run_folder.FILE_NAME
    path.write_bytes(content)
    for load, remedy in ((checkpoint.load, "start the run anew"), (read_weights_of, "give --init-from another folder")):
        with pytest.raises(CheckpointError) as refused:
            load(tmp_path)
        told = f"{path} is not a complete checkpoint of polserve's: it is damaged, or of something else; {remedy}"
        assert str(refused.value).startswith(told)


@pytest.mark.parametrize("written", [{"model": torch.zeros(2)}, torch.zeros(2), {"format": "x"}], ids=str)
def test_weights_that_another_tool_saved_are_no_checkpoint(written: object, tmp_path: Path) -> None:
    torch.save(written, tmp_path / run_folder.FILE_NAME)
    with pytest.raises(CheckpointError, match="is no checkpoint of polserve's: something else wrote it; give --init"):
        read_weights_of(tmp_path)


def test_a_checkpoint_that_was_there_before_is_set_aside(tmp_path: Path) -> None:
    assert run_folder.set_aside(tmp_path) is None
    for step in (1, 2):
        checkpoint.save(tmp_path, {"step": step})
        assert run_folder.set_aside(tmp_path) == tmp_path / f"checkpoint-{step}.pt"
    (tmp_path / "checkpoint-1.pt").rename(tmp_path / run_folder.FILE_NAME)
    assert checkpoint.load(tmp_path) == {"step": 1}


def test_a_crash_while_saving_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"step": 1})
    with pytest.raises(AttributeError):
        checkpoint.save(tmp_path, {"step": lambda: 2})  # cannot be written
    assert checkpoint.load(tmp_path) == {"step": 1}


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 1, "loop": {}}, tmp_path / run_folder.FILE_NAME)
    with pytest.raises(CheckpointError, match="expected checkpoint format 4, got 1, of another version of polserve"):
        checkpoint.load(tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint_and_no_partial_one(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"step": 1})
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, unlimited[1]))  # a disk with room for 100 KB
    try:
        with pytest.raises(CheckpointError, match="the one before it is kept; make room there"):
            checkpoint.save(tmp_path, {"step": 2, "weights": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert checkpoint.load(tmp_path) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == [run_folder.FILE_NAME]
