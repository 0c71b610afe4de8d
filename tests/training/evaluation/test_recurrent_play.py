"""Recurrent policies are exported with their states, and play with what they remember."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import polserve
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import EVALUATION_FIRST_SEED, make_env
from polserve.training.versions.export import export_policy
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.spaces import make_memory_version
from tests.support.strangers import Line, registered


class Swings(Line):
    """A line that pays for being on the other side of where the last steps led: it shows what a policy remembers."""

    def earn(self) -> Any:
        return float(np.sin(self.steps) * self.x)


class Recurrent(nn.Module):
    """A GRU cell, and values of two actions."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(2, 4)
        self.values = nn.Linear(4, 2)

    def forward(self, observation: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and the next state."""
        following = self.cell(observation, hidden)
        values = self.values(following)
        return values.argmax(dim=1), values, following


def test_a_recurrent_module_is_exported_with_its_state() -> None:
    torch.manual_seed(0)
    module, rng = Recurrent(), np.random.default_rng(0)
    observations, hidden = (rng.normal(size=(80, n)).astype(np.float32) for n in (2, 4))
    spec = pb.PolicySpec(name="gru", action=pb.ActionSpec(discrete=pb.DiscreteActions(n=2)))
    version = export_policy(module, spec, observations, {"hidden": hidden})
    assert [(state.name, list(state.shape)) for state in version.spec.states] == [("hidden", [4])]
    assert set(version.golden) == {"observation", "hidden", "action", "values", "next_hidden"}
    graph = OnnxPolicy(version.model.SerializeToString())
    action, states = graph.act_remembering(observations[:3], None)
    with torch.no_grad():
        expected = module(torch.from_numpy(observations[:3]), torch.zeros(3, 4))
    assert action.tolist() == expected[0].tolist()
    assert states["hidden"] == pytest.approx(expected[2].numpy(), abs=1e-5)


@pytest.mark.parametrize("form", ["folder", "loaded"])
def test_a_recurrent_version_is_evaluated_with_what_it_remembers(form: str, tmp_path: Path) -> None:
    folder = make_memory_version().write(tmp_path / "memory" / "1")
    with registered(Swings) as spec:
        policy = folder if form == "folder" else polserve.load(folder)
        evaluation = polserve.evaluate(policy, episodes=3, env=spec.id, progress=False)
        expected = [played(make_env(spec), OnnxPolicy(folder / "model.onnx"), seed) for seed in range(3)]
    assert evaluation.returns == pytest.approx(expected)
    assert len(set(evaluation.returns)) == 3


def played(env: gym.Env[Any, Any], policy: OnnxPolicy, index: int) -> float:
    observation, _ = env.reset(seed=EVALUATION_FIRST_SEED + index)
    total, states, is_over = 0.0, None, False
    while not is_over:
        action, states = policy.act_remembering(observation[np.newaxis], states)
        observation, reward, terminated, truncated, _ = env.step(action[0])
        total += float(reward)
        is_over = terminated or truncated
    return total
