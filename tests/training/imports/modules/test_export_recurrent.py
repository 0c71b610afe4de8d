"""A recurrent torch module in hand becomes a version that remembers as it does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from polserve import export, load
from polserve.training.errors import ImportRefused, InvalidOption
from polserve.training.versions.onnx_policy import OnnxPolicy


class Recalls(nn.Module):
    """An LSTM cell and a score for each of two actions, of what CartPole shows without its speeds."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(2, 8)
        self.scores = nn.Linear(8, 2)

    def forward(self, observations: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, and the next states."""
        hidden, cell = self.cell(observations[:, ::2], (hidden, cell))
        return self.scores(hidden), hidden, cell


STATES = {"hidden": (8,), "cell": (8,)}


@pytest.fixture(scope="module")
def module() -> Recalls:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Recalls()


def test_a_recurrent_module_becomes_an_evaluated_version_that_remembers(module: Recalls, tmp_path: Path) -> None:
    version = export(
        module, env="CartPole-v1", name="recalls", gives="values", states=STATES, episodes=3, folder=tmp_path,
        progress=False,
    )  # fmt: skip
    assert {state.name: tuple(state.shape) for state in version.spec.states} == STATES
    assert version.spec.parity.compared_observations == 1000
    assert version.evaluation is not None
    assert version.path is not None
    loaded, state = load(version.path), None
    hidden, cell = (torch.zeros(1, 8) for _ in range(2))
    for observation in np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32):
        answer = loaded.act(observation, state=state, with_values=True)
        state = answer.state
        with torch.no_grad():
            scores, hidden, cell = module(torch.from_numpy(observation[np.newaxis]), hidden, cell)
        assert int(answer.action) == int(scores.argmax())
        np.testing.assert_allclose(answer.values, scores[0].numpy(), atol=1e-5)  # type: ignore[arg-type]


def test_without_an_environment_it_is_compared_on_drawn_observations(module: Recalls, tmp_path: Path) -> None:
    spaces: dict[str, Any] = {"observation_space": Box(-1, 1, (4,), np.float32), "action_space": Discrete(2)}
    version = export(module, name="drawn", states=STATES, folder=tmp_path, progress=False, **spaces)
    golden = np.load(version.path / "extra_files" / "golden.npz")  # type: ignore[operator] # it was written
    assert np.abs(golden["hidden"]).max() > 0.01, "episodes have gone on"
    assert set(OnnxPolicy(version.path / "model.onnx").states) == set(STATES)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("states", "error", "sentence"),
    [
        ({"hidden": (8,)}, ImportRefused, "expected a module that takes observations"),
        ({"hidden": (8,), "cell": (4,)}, ImportRefused, "expected a module that takes|expected the next states"),
        ({"hidden": 8}, InvalidOption, "states: expected names with the shape of each, .* got 'hidden': 8"),
        ({"action": (8,)}, InvalidOption, "states: expected names with the shape of each"),
    ],
)
def test_states_that_are_not_the_modules_are_refused(
    module: Recalls, states: Any, error: type[Exception], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence):
        export(module, env="CartPole-v1", states=states, folder=tmp_path, progress=False)


def test_a_module_that_gives_no_next_states_is_refused(tmp_path: Path) -> None:
    class Forgets(nn.Module):
        def forward(self, observations: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
            return observations[:, :2] + hidden, hidden[:, :1]

    with pytest.raises(ImportRefused, match=r"Forgets: expected the next states hidden last, as float32 \(2, 2\)"):
        export(Forgets(), env="CartPole-v1", states={"hidden": (2,)}, folder=tmp_path, progress=False)
