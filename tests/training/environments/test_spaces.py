"""Every remedy that an error names is tried here, as it is written there."""

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Text

from polserve.training.environments.inspection import inspect_environment
from polserve.training.environments.making import make_env, make_vec
from polserve.training.environments.spaces import (
    carried,
    continuous_actions,
    discrete_actions,
    float32_bounds,
    observation_box,
)
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig
from polserve.training.learning.hyperparameters import DqnConfig, LoopConfig, ReplayConfig
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import build_trainee
from tests.support.strangers import Line, like, registered

AGENTS: dict[str, DqnConfig | DdpgConfig] = {"dqn": DqnConfig(batch_size=8), "ddpg": DdpgConfig(batch_size=8)}
LOOP = LoopConfig(steps=40, n_envs=2, selection_episodes=2, evaluate_every=40)
REPLAY = ReplayConfig(learning_starts=20, replay_capacity=100)


def seen(space: spaces.Space[Any]) -> type[Line]:
    """A line that is observed as a sample of the space."""

    class Odd(Line):
        observation_space = space

        def look(self) -> Any:
            return space.sample()

    return Odd


class Words(spaces.Space[str]):
    """A space of the environment's own, which Gymnasium cannot flatten."""

    def sample(self, mask: Any = None, probability: Any = None) -> str:  # noqa: ARG002 - as Gymnasium has it
        return "go left"

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)

    def __repr__(self) -> str:
        return "Words()"


def learn(make: Any, algo: str) -> None:
    with registered(make) as spec:
        build_trainee(Recipe("odd", spec, LOOP, agent=AGENTS[algo], replay=REPLAY), 0).train()


def named_wrapper(message: str) -> str:
    """The wrapper that the message tells to put around `env`."""
    found = re.search(r"gymnasium\.wrappers\.\w+\(env.*?\)(?=, with|; docs)", message)
    assert found, message
    return found[0]


OBSERVED = [Text(5), Dict({"name": Text(5), "gear": Discrete(3)}), Box(0, 100, (2,), np.uint64)]
ANSWERED = [
    (MultiDiscrete([3, 2]), "dqn"),
    (MultiDiscrete([3, 2], start=[1, 5]), "dqn"),
    (MultiDiscrete(np.array([[3, 2], [2, 2]])), "dqn"),
    (MultiBinary(3), "dqn"),
    (Box(-1.0, 1.0, (2, 2)), "ddpg"),
    (Box(-0.3, 0.1, (2, 2), np.float64), "ddpg"),
    (Box(-1.0, 1.0, ()), "ddpg"),
    (Box(-np.inf, np.inf, (2,)), "ddpg"),
    (Box(0, 5, (2,), np.int64), "ddpg"),
    (Box(1.7e9, 1.7e9 + 100, (1,), np.float64), "ddpg"),
]


@pytest.mark.filterwarnings("ignore:.*precision lowered")
@pytest.mark.parametrize("space", OBSERVED, ids=repr)
def test_what_an_error_says_of_observations_helps(space: spaces.Space[Any]) -> None:
    env = seen(space)
    with registered(env) as spec, pytest.raises(UnsupportedEnvironment, match="expected observations in a Box") as said:
        inspect_environment(spec)
    wrapper = named_wrapper(str(said.value))
    learn(lambda: eval(wrapper, {"gymnasium": gymnasium, "np": np, "env": env()}), "dqn")  # noqa: S307 - our own text


@pytest.mark.filterwarnings("ignore:.*precision lowered")
@pytest.mark.parametrize(("space", "algo"), ANSWERED, ids=repr)
def test_what_an_error_says_of_actions_helps(space: spaces.Space[Any], algo: str) -> None:
    env = like("action_space", space)
    with registered(env) as spec, pytest.raises(UnsupportedEnvironment, match=r"needs? actions in") as said:
        build_trainee(Recipe("odd", spec, LOOP, agent=AGENTS[algo], replay=REPLAY), 0)
    wrapper = named_wrapper(str(said.value))
    names = {"gymnasium": gymnasium, "np": np, "Box": Box, "Discrete": Discrete}
    learn(lambda: eval(wrapper, {**names, "env": env()}), algo)  # noqa: S307 - our own text


@pytest.mark.parametrize("space", [Sequence(Box(-1, 1, (2,))), Graph(Box(-1, 1, (2,)), None), Words()], ids=repr)
def test_observations_that_cannot_be_flattened_are_not_told_to_be(space: spaces.Space[Any]) -> None:
    with pytest.raises(UnsupportedEnvironment, match="; give the numbers of it that matter as a Box of one shape"):
        observation_box(space, "Odd-v0")


@pytest.mark.parametrize("part", [Sequence(Box(-1, 1, (2,))), Words()], ids=repr)
def test_a_part_that_no_agent_can_use_is_named_with_a_wrapper_that_leaves_it_out(part: spaces.Space[Any]) -> None:
    env = seen(Dict({"gear": Discrete(3), "told": Dict({"words": part})}))
    with registered(env) as spec, pytest.raises(UnsupportedEnvironment, match=r"can use 'told\.words' \(") as said:
        inspect_environment(spec)
    wrapper = re.search(r"gymnasium\.wrappers\.FilterObservation\(.*?\](?=\))\)", str(said.value))
    assert wrapper, said.value
    learn(lambda: eval(wrapper[0], {"gymnasium": gymnasium, "env": env()}), "dqn")  # noqa: S307 - our own text


@pytest.mark.parametrize("part", [Sequence(Box(-1, 1, (2,))), Words()], ids=repr)
def test_a_wrapper_that_gives_the_other_parts_makes_an_environment_usable(part: spaces.Space[Any]) -> None:
    def geared() -> Any:
        return gymnasium.wrappers.TransformObservation(
            env(), lambda seen: np.array([seen["gear"]], np.float32), Box(0, 2, (1,))
        )

    env = seen(Dict({"gear": Discrete(3), "words": part}))
    with registered(geared) as spec:
        assert inspect_environment(spec).client_wrappers == ("TransformObservation",)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Box(-1.0, 1.0, (2,)), "; train with --algo td3 or --algo sac$"),
        (Box(-1.0, 1.0, (2, 2)), "; train with --algo td3 or --algo sac: wrap it: gymnasium.wrappers.TransformAction"),
        (MultiDiscrete([100] * 4), "its 100,000,000 combinations are too many for one Discrete"),
        (Dict({"a": Discrete(2)}), "number the actions to choose from"),
    ],
    ids=repr,
)
def test_actions_that_dqn_cannot_choose_are_refused_with_a_way_on(space: spaces.Space[Any], sentence: str) -> None:
    with pytest.raises(UnsupportedEnvironment, match=sentence):
        discrete_actions(space, "Odd-v0")


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Discrete(3), "; train with --algo dqn$"),
        (MultiBinary(2), "train with --algo dqn: wrap it: gymnasium.wrappers.TransformAction"),
        (Box(np.zeros(2, np.float32), np.array([0, 1], np.float32)), "leave out the components that have one value"),
        (Box(0.1, 0.1 + 1e-12, (1,), np.float64), "float32, .* has fewer than two numbers .*RescaleAction"),
    ],
    ids=repr,
)
def test_actions_that_ddpg_cannot_choose_are_refused_with_a_way_on(space: spaces.Space[Any], sentence: str) -> None:
    with pytest.raises(UnsupportedEnvironment, match=sentence):
        continuous_actions(space, "Odd-v0")


@pytest.mark.parametrize(
    ("dtype", "wider"),
    [
        (np.int8, np.int32),
        (np.int16, np.int32),
        (np.uint16, np.int32),
        (np.uint32, np.int64),
        (np.float16, np.float32),
        (np.uint8, np.uint8),
    ],
)
def test_a_dtype_that_no_version_carries_becomes_the_next_wider_one_everywhere(dtype: Any, wider: Any) -> None:
    env = seen(Box(0, 100, (2,), dtype))
    with registered(env) as spec:
        single, vector = make_env(spec), make_vec(spec, 2)
        assert single.observation_space.dtype == vector.single_observation_space.dtype == wider
        assert single.reset(seed=0)[0].dtype == vector.reset(seed=0)[0].dtype == wider
        inspect_environment(spec)
    learn(env, "dqn")


def test_every_value_of_a_dtype_is_one_of_its_wider_one() -> None:
    low, high = np.iinfo(np.uint32).min, np.iinfo(np.uint32).max
    wide = carried(Box(low, high, (1,), np.uint32))
    assert (wide.low[0], wide.high[0]) == (low, high)


@pytest.mark.parametrize(
    "space",
    [
        Box(-0.3, 0.1, (1,), np.float64),
        Box(-3.0, 0.2, (1,), np.float32),
        Box(np.array([0.1, -1e300]), np.array([0.7, 1e300]), dtype=np.float64),
    ],
    ids=repr,
)
def test_the_bounds_in_float32_lie_within_those_of_the_space(space: Box) -> None:
    low, high = float32_bounds(space)
    assert np.isfinite([low, high]).all()
    assert (low.astype(np.float64) >= space.low).all()
    assert (high.astype(np.float64) <= space.high).all()
    with np.errstate(over="ignore"):
        below, above = np.nextafter(low, np.float32(-np.inf)), np.nextafter(high, np.float32(np.inf))
    assert (below.astype(np.float64) < space.low).all()
    assert (above.astype(np.float64) > space.high).all()
