"""A file that is no whole policy is refused by what was expected and what came, and nothing in it is ever run."""

import base64
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polserve.training.errors import ImportRefused, InvalidOption
from polserve.training.imports.places import Place
from polserve.training.imports.sb3.importer import Sb3Options, read_sb3
from tests.support.sb3_files import FIXTURE

Edit = Callable[[dict[str, Any]], object]
MEMBERS = zipfile.ZipFile(FIXTURE).namelist()
LIMIT = 64 * 2**20


class Planted:
    """What touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def rewritten(folder: Path, members: Mapping[str, bytes | None], source: Path = FIXTURE) -> Path:
    """A copy of the fixture with other members; None leaves one out."""
    path = folder / "model.zip"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = members.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return path


def with_data(folder: Path, edit: Edit) -> Path:
    """A copy of the fixture with an edited JSON part."""
    data = json.loads(zipfile.ZipFile(FIXTURE).read("data"))
    edit(data)
    return rewritten(folder, {"data": json.dumps(data).encode()})


def with_state(folder: Path, edit: Edit) -> Path:
    """A copy of the fixture with edited weights."""
    state = torch.load(io.BytesIO(zipfile.ZipFile(FIXTURE).read("policy.pth")), weights_only=True)
    edit(state)
    return rewritten(folder, {"policy.pth": torch_bytes(state)})


def torch_bytes(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def read(path: Path, **options: str) -> object:
    return read_sb3(path, Sb3Options(**options), Place())


def test_a_pickle_planted_in_any_member_is_never_run(tmp_path: Path) -> None:
    planted = Planted(tmp_path / "touched")
    pickle.loads(pickle.dumps(Planted(tmp_path / "works")))  # noqa: S301 - that it would be run
    assert (tmp_path / "works").exists()
    for member in MEMBERS:
        for content in (pickle.dumps(planted), torch_bytes(planted), torch_bytes({"weight": planted})):
            path = rewritten(tmp_path, {member: content})
            if member in {"data", "policy.pth", "_stable_baselines3_version"}:
                with pytest.raises(ImportRefused, match=member):
                    read(path)
            else:
                read(path)
    serialized = base64.b64encode(pickle.dumps(planted)).decode()

    def plant(data: dict[str, Any]) -> None:
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = serialized

    read(with_data(tmp_path, plant))
    (tmp_path / "statistics.pkl").write_bytes(pickle.dumps(planted))
    with pytest.raises(ImportRefused, match="nothing of a pickle is run here"):
        read(FIXTURE, normalize=str(tmp_path / "statistics.pkl"))
    assert not planted.marker.exists()


@pytest.mark.parametrize("member", ["data", "policy.pth"])
def test_a_member_that_unpacks_to_more_than_its_limit_is_not_read(member: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("data", "policy.pth"):
            archive.writestr(name, bytes(LIMIT + 1) if name == member else zipfile.ZipFile(FIXTURE).read(name))
    assert path.stat().st_size < LIMIT // 50
    with pytest.raises(ImportRefused, match=rf"bomb.zip: {member}: .*is not read"):
        read(path)


def test_weights_that_are_packed_themselves_are_not_unpacked(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data/0", bytes(LIMIT))
    with pytest.raises(ImportRefused, match="expected weights stored as they are"):
        read(rewritten(tmp_path, {"policy.pth": packed.getvalue()}))


@pytest.mark.parametrize("member", ["data", "policy.pth"])
def test_a_missing_member_is_named(member: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=f"it lacks {member} and holds "):
        read(rewritten(tmp_path, {member: None}))


def test_a_file_of_another_tool_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", weights=np.zeros(3))
    with pytest.raises(ImportRefused, match=r"it lacks data, policy.pth and holds 'weights.npy'"):
        read(tmp_path / "arrays.npz")
    (tmp_path / "model.pt").write_bytes(b"no archive")
    with pytest.raises(ImportRefused, match="got a file that is no zip archive"):
        read(tmp_path / "model.pt")


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    content = FIXTURE.read_bytes()
    (tmp_path / "half.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImportRefused, match="no zip archive"):
        read(tmp_path / "half.zip")
    shutil.copy(FIXTURE, tmp_path / "damaged.zip")
    at = content.index(b"policy_class")
    (tmp_path / "damaged.zip").write_bytes(content[:at] + b"?" * 50 + content[at + 50 :])
    with pytest.raises(ImportRefused, match="data: expected a whole member"):
        read(tmp_path / "damaged.zip")


FIRST = "quantile_net.quantile_net.0.weight"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state[FIRST].fill_(torch.nan), rf"{FIRST}: expected finite weights, got NaN"),
        (lambda state: state.update({FIRST: torch.zeros(8, 6)}), rf"{FIRST}: expected \(n, 5\), .*got \(8, 6\)"),
        (lambda state: state.pop("quantile_net.quantile_net.2.weight"), "expected the weights of linear layers"),
        (lambda state: state.clear(), "got weights named none"),
    ],
    ids=["nan", "shape", "layer", "empty"],
)
def test_weights_that_are_of_no_such_policy_are_refused(edit: Edit, message: str, tmp_path: Path) -> None:
    path = with_state(tmp_path, edit)
    with pytest.raises(ImportRefused, match=message):
        read(path)


def space(**attributes: object) -> Edit:
    return lambda data: data["observation_space"].update(attributes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (space(_shape=[7]), r"quantile_net.0.weight: expected \(n, 7\)"),
        (space(_shape=[2**40]), "observation_space: expected a Box, got a damaged one"),
        (space(**{":type:": "<class 'mine.Space'>"}), "observation_space: expected Box, Discrete, .* got Space"),
        (lambda data: data.pop("action_space"), "action_space: expected a space, got None"),
        (lambda data: data["action_space"].update(n="3"), r"expected 15 outputs for Discrete\(3\), got 20"),
        (
            lambda data: data["policy_kwargs"].update(activation_fn="<function <lambda> at 0x7f>"),
            "activation_fn: expected an activation of torch.nn, .*give --activation",
        ),
        (
            lambda data: data["policy_kwargs"].update(features_extractor_class="<class '__main__.Mine'>"),
            "features_extractor_class: expected NatureCNN .*got .*__main__.Mine.*polserve.export",
        ),
        (lambda data: data["policy_class"].update(__module__="__main__"), "class of your own .*give --activation"),
    ],
    ids=["shape", "huge", "kind", "missing", "actions", "activation", "extractor", "class"],
)
def test_what_the_file_states_and_cannot_be_is_refused_with_the_remedy(
    edit: Edit, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ImportRefused, match=message):
        read(with_data(tmp_path, edit))


def test_an_option_tells_what_the_file_does_not(tmp_path: Path) -> None:
    path = with_data(tmp_path, lambda data: data["policy_class"].update(__module__="__main__"))
    assert read(path, activation="ReLU", algorithm="qrdqn")
    with pytest.raises(
        InvalidOption, match=r"--algorithm: expected qr-dqn, since .* holds a quantile network; got 'sac'"
    ):
        read(path, activation="relu", algorithm="sac")
    with pytest.raises(InvalidOption, match=r"--activation: expected one of celu, .* got 'swoosh'"):
        read(path, activation="swoosh")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mean": np.zeros(5)}, "lacks var.npy"),
        ({"mean": np.zeros(5), "var": np.full(5, -1.0)}, "expected a finite mean and a var above 0"),
        ({"mean": np.zeros(4), "var": np.ones(4)}, r"expected statistics of observations \(5,\), got \(4,\)"),
        ({"mean": np.zeros(5), "var": np.ones(4)}, "expected mean and var of one shape"),
        ({"mean": np.array([object()] * 5), "var": np.ones(5)}, "mean: expected an array of numbers"),
    ],
    ids=["missing", "negative", "other", "uneven", "objects"],
)
def test_statistics_that_cannot_be_are_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "statistics.npz", **arrays)
    with pytest.raises(ImportRefused, match=message):
        read(FIXTURE, normalize=str(tmp_path / "statistics.npz"))


@pytest.mark.parametrize(("name", "got"), [("typo.pkl", "no such file"), (".", "something else, such as a folder")])
def test_statistics_that_are_no_file_are_refused(name: str, got: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=rf"expected a .pkl or an .npz with statistics, got {got}"):
        read(FIXTURE, normalize=str(tmp_path / name))
