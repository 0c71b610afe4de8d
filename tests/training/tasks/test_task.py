"""A new kind of problem needs one object; nothing else in training knows the kinds that there are."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import EnvironmentSpec, make_vec
from polserve.training.errors import InvalidOption
from polserve.training.learning.collector import ChooseActions
from polserve.training.learning.hyperparameters import LoopConfig
from polserve.training.learning.scores import Score, SelectionGames
from polserve.training.runs.evaluating import Trained, make_version
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.stages import Stages
from polserve.training.runs.trainee import build_trainee
from polserve.training.tasks import catalog
from polserve.training.tasks.catalog import TASKS, task_for
from polserve.training.tasks.selection import mean_return
from polserve.training.tasks.task import ReportRequest, Task, TaskOptions, TaskSetup
from tests.support.running import ROOT

TRAINING = ROOT / "training"
WORDS = {
    "adbudget": {"tasks/catalog.py", "runs/presets.py"},
    "AllocationEnv": set(),
    "Screens|is_screens": set(),
    "ale_py": set(),
}
"""What only a task's own folder may say, with the lists that may name it."""


@pytest.mark.parametrize("word", WORDS)
def test_only_its_own_folder_and_the_lists_know_a_kind_of_problem(word: str) -> None:
    naming = {str(path.relative_to(TRAINING)) for path in TRAINING.rglob("*.py") if re.search(word, path.read_text())}
    own = {name for name in naming if re.match("tasks/(adbudget|atari)/", name)}
    assert own, "the word is still used"
    assert naming - own <= WORDS[word]


def test_the_preset_or_the_environment_says_which_task_it_is() -> None:
    assert {PRESETS[name].task.name for name in ("mspacman", "mspacman-guide")} == {"atari"}
    assert PRESETS["adbudget"].task.name == "adbudget"
    assert PRESETS["cartpole"].task.name == PRESETS["pendulum"].task.name == "control"
    assert task_for("ALE/Pong-v5").name == "control", "a game is played from its frames unless a preset says screens"
    assert len({task.name for task in TASKS}) == len(TASKS)


class Halved(nn.Module):
    """What a network sees of an observation."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return observation / 2


def test_a_task_brings_its_parts_to_a_run_its_spec_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_up(environment: EnvironmentSpec, games: SelectionGames) -> TaskSetup:
        make_envs = partial(make_vec, environment)

        def points(choose_actions: ChooseActions, best: Score | None) -> Score:
            score = mean_return(make_envs, games, choose_actions, best)
            return replace(score, value=1000 + score.value)

        return TaskSetup(
            make_envs,
            points,
            "points",
            preprocessing=Halved(),
            golden_size=70,
            write_report=write_report,
        )

    def write_report(request: ReportRequest, _narrator: object) -> dict[str, float]:
        (request.folder / "page.txt").write_text(request.name)
        return {"evaluation/pages": 1.0}

    def spec_part(env: gym.Env[Any, Any]) -> pb.PolicySpec:
        assert env.observation_space.shape == (4,)
        return pb.PolicySpec(allocation=pb.AllocationSpec(currency="EUR"))

    loop = LoopConfig(steps=200, n_envs=2, evaluate_every=100, selection_episodes=2, evaluation_episodes=3)
    own = Task("own", knows=lambda environment_id: environment_id == "CartPole-v1", set_up=set_up, spec_part=spec_part)
    monkeypatch.setattr(catalog, "TASKS", (*TASKS, own))
    recipe = Recipe("own", EnvironmentSpec("CartPole-v1"), loop)
    assert recipe.params()["task"] == "own"
    trainee = build_trainee(recipe, 0)
    result = trainee.train()
    assert (result.score_name, result.best_score > 1000) == ("points", True)
    narrator = Stages(Console(quiet=True))
    _, version = make_version(Trained(recipe, trainee, result, pb.Provenance()), narrator)
    assert version.spec.allocation.currency == "EUR"
    assert len(version.golden["observation"]) == 70
    policy = trainee.agent.policy()
    observation = np.ones((1, 4), np.float32)
    values = policy(torch.from_numpy(observation))[1]
    assert torch.equal(values, policy.network(torch.from_numpy(observation / 2)))  # type: ignore[operator]
    request = ReportRequest("own", policy, 3, tmp_path)
    assert trainee.setup.write_report(request, narrator) == {"evaluation/pages": 1.0}
    assert (tmp_path / "page.txt").read_text() == "own"


def test_a_task_that_takes_no_data_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="--data: expected none for CartPole-v1, got "):
        task_for("CartPole-v1").configure(
            EnvironmentSpec("CartPole-v1"), TaskOptions(tmp_path / "history.csv"), Stages(Console(quiet=True))
        )
