"""Files that no CleanRL script saved are refused, and nothing in them is run."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from polserve.training.errors import ImportRefused
from polserve.training.imports.cleanrl import reading
from polserve.training.imports.cleanrl.networks import rebuild
from polserve.training.imports.cleanrl.reading import read_saved
from tests.support.cleanrl_files import Network, mlp, save


class Planted:
    """What a pickle would run when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def state() -> dict[str, torch.Tensor]:
    return Network(mlp([4, 8, 2], nn.ReLU)).state_dict()


@pytest.mark.parametrize("place", ["alone", "beside the weights", "among the arguments", "as a bare pickle"])
def test_planted_code_is_refused_and_not_run(place: str, tmp_path: Path) -> None:
    planted, path = Planted(tmp_path / "mark"), tmp_path / "dqn.cleanrl_model"
    contents = {
        "alone": planted,
        "beside the weights": (state(), planted),
        "among the arguments": {"model_weights": state(), "args": {"seed": planted}},
    }
    if place == "as a bare pickle":
        path.write_bytes(pickle.dumps(planted))
    else:
        save(path, contents[place])

    with pytest.raises(ImportRefused, match=r"dqn.cleanrl_model: expected what CleanRL's scripts save"):
        read_saved(path)

    assert not planted.mark.exists()
    pickle.loads(pickle.dumps(planted))  # noqa: S301 - our own: what was planted works
    assert planted.mark.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "got an empty file"),
        (b"\x82\xa6params\x80\xa4step\x01", "MessagePack, as flax writes it in the scripts whose names end in _jax"),
        (b"\x7fELF", "got a file that begins with"),
        (b"PK\x03\x04 and no more", "got a damaged archive"),
    ],
)
def test_a_file_of_another_form_is_told_by_its_content(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "dqn.cleanrl_model"
    path.write_bytes(content)

    with pytest.raises(ImportRefused, match=says):
        read_saved(path)


def test_a_file_of_stable_baselines_names_its_own_command(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", "{}")
        archive.writestr("policy.pth", b"")

    with pytest.raises(ImportRefused, match="import it by `polserve import sb3`"):
        read_saved(path)


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 1_000_000)
    path = tmp_path / "dqn.cleanrl_model"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dqn/data.pkl", b"")
        archive.writestr("dqn/data/0", bytes(2_000_000))
    assert path.stat().st_size < 10_000

    with pytest.raises(ImportRefused, match=r"expected at most 1,000,000 bytes unpacked, got 2,000,000"):
        read_saved(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "a state dict by names, got dict"),
        ([1, 2], "got 2 parts that are no state dicts"),
        (torch.zeros(3), "a state dict by names, got Tensor"),
        ({"encoder.weight": torch.zeros(2, 2)}, "a state dict of encoder.weight: no network of its scripts"),
        ({"network.0.weight": torch.full((2, 4), torch.nan)}, "network.0.weight: expected finite weights, got NaN"),
    ],
)
def test_content_that_is_no_policy_is_refused(content: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=says):
        read_saved(save(tmp_path / "dqn.cleanrl_model", content))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network.0.weight": torch.zeros(7, 4)}, "network.0: expected a bias as long as"),
        ({"network.2.weight": torch.zeros(2, 9)}, "got one of 8 outputs before one of 9 inputs"),
        ({"network.0.weight": torch.zeros(8, 4, 5, 5)}, "network.0: expected a kernel of 8, 4 or 3, .* got 5"),
        ({"network.0.weight": torch.zeros(8, 4, 5)}, r"network.0: expected the weight of .* got one of \(8, 4, 5\)"),
    ],
)
def test_weights_whose_shapes_do_not_fit_one_another_are_refused(
    changes: dict[str, torch.Tensor], says: str, tmp_path: Path
) -> None:
    saved = read_saved(save(tmp_path / "dqn.cleanrl_model", state() | changes))

    with pytest.raises(ImportRefused, match=says):
        rebuild(saved, None)


def test_names_of_compiled_networks_are_read(tmp_path: Path) -> None:
    compiled = {f"_orig_mod.{name}": tensor for name, tensor in state().items()}

    saved = read_saved(save(tmp_path / "dqn.cleanrl_model", compiled))

    assert rebuild(saved, None).outputs == 2
