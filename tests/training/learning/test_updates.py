from dataclasses import replace

import pytest

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.learning.hyperparameters import LoopConfig, NetworkConfig, ReplayConfig
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import Trainee, build_trainee

REPLAY = ReplayConfig(learning_starts=20, replay_capacity=400, checkpoint_replay=False)
RECIPE = Recipe(
    policy="small",
    environment=EnvironmentSpec("CartPole-v1"),
    loop=LoopConfig(steps=1_000, n_envs=4, evaluate_every=1_000, selection_episodes=1),
    replay=REPLAY,
    network=NetworkConfig(hidden_sizes=(8,)),
)


def trained(steps: int, replay: ReplayConfig = REPLAY, state: object = None) -> Trainee:
    """A run that was left off at a step, from its beginning or from a state."""
    trainee = build_trainee(replace(RECIPE, replay=replay), 0)
    if state is not None:
        trainee.load_state(state)  # type: ignore[arg-type]
    begun = trainee.loop.step
    for progress in trainee.loop.run():
        if progress.step - begun >= steps:
            break
    return trainee


@pytest.mark.parametrize(
    ("steps", "enough"),
    [(60, 60), (800, 100)],
    ids=["as many as it held", "a quarter of the capacity"],
)
def test_a_resumed_run_without_its_replay_learns_when_a_new_one_is_filled(steps: int, enough: int) -> None:
    state = trained(steps).state()
    updates = state["loop"]["agent"]["updates"]
    assert trained(enough - 8, state=state).state()["loop"]["agent"]["updates"] == updates
    assert trained(enough + 40, state=state).state()["loop"]["agent"]["updates"] > updates
