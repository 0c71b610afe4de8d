"""sb3-contrib's RecurrentPPO is imported with its states, and acts as the library's own predict did."""

import io
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from polserve import load
from polserve.training.errors import ImportRefused
from polserve.training.imports.importing import import_policy
from polserve.training.imports.places import Place
from polserve.training.imports.request import ImportRequest
from polserve.training.imports.sb3.importer import Sb3Options, read_sb3
from tests.support.sb3_files import RECURRENT_FIXTURE


def test_a_recurrent_policy_acts_as_the_library_predicted_in_each_episode(tmp_path: Path) -> None:
    request = ImportRequest(name="lstm", folder=tmp_path)
    version = import_policy(partial(read_sb3, RECURRENT_FIXTURE, Sb3Options()), request)
    assert version.path is not None
    assert (version.spec.algorithm, version.spec.parity.compared_with) == ("recurrent-ppo", "torch's LSTM")
    assert {state.name: tuple(state.shape) for state in version.spec.states} == {"hidden": (2, 6), "cell": (2, 6)}
    assert version.spec.provenance.source.algorithm == "RecurrentPPO"
    with np.load(RECURRENT_FIXTURE.with_suffix(".npz"), allow_pickle=False) as recorded:
        policy, state, actions = load(version.path), None, []
        for observation, is_start in zip(recorded["observation"], recorded["is_start"], strict=True):
            answer = policy.act(observation, state=None if is_start else state)
            state = answer.state
            actions.append(int(answer.action))
        assert actions == recorded["action"].tolist()
        assert len(set(actions)) > 1


FIRST = "lstm_actor.weight_ih_l0"


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        (FIRST, (24, 3), rf"{FIRST}: expected \(4 \* n, 5\), .* \(24, 3\)"),
        ("lstm_actor.weight_hh_l1", (24, 5), r"lstm_actor\.\*: expected an LSTM's weights"),
        ("mlp_extractor.policy_net.0.weight", (8, 4), r"expected \(n, 6\), for observations"),
    ],
)
def test_weights_of_another_lstm_are_refused(name: str, shape: tuple[int, ...], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "changed.zip"
    with zipfile.ZipFile(RECURRENT_FIXTURE) as whole, zipfile.ZipFile(path, "w") as changed:
        for member in whole.namelist():
            content = whole.read(member)
            if member == "policy.pth":
                state = {**torch.load(io.BytesIO(content), weights_only=True), name: torch.zeros(shape)}
                torch.save(state, buffer := io.BytesIO())
                content = buffer.getvalue()
            changed.writestr(member, content)
    with pytest.raises(ImportRefused, match=sentence):
        read_sb3(path, Sb3Options(), Place())
