"""Observations that are no Box, and actions that do not start at 0: learned from and exported as they are."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.layout import Layout, PartError
from polserve.protos.tensors import DTYPES
from polserve.training.environments.descriptions import Description, describe
from polserve.training.environments.inspection import check_fits, inspect_environment
from polserve.training.environments.layouts import flat_box, flattened, layout_of, observation_message, unflattened
from polserve.training.environments.making import make_env
from polserve.training.environments.space_messages import described_actions, described_observations
from polserve.training.errors import FaultyEnvironment, UnsupportedEnvironment
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig
from polserve.training.learning.hyperparameters import DqnConfig, LoopConfig, ReplayConfig
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import build_trainee
from polserve.training.versions.export import export_policy
from tests.support.strangers import InParts, Line, registered

LOOP = LoopConfig(steps=40, n_envs=2, selection_episodes=2, evaluate_every=40)
REPLAY = ReplayConfig(learning_starts=20, replay_capacity=100)
NESTED = Dict(
    {
        "arm": Dict({"joints": Box(-3, 3, (2, 2), np.float64), "grip": Discrete(3, start=-1)}),
        "seen": Tuple((MultiBinary(2), MultiDiscrete([3, 2], start=[5, 0]))),
    }
)
SPACES: list[gym.Space[Any]] = [
    Discrete(7),
    Discrete(7, start=-3),
    MultiBinary((2, 2)),
    MultiDiscrete([3, 2]),
    MultiDiscrete(np.array([[3, 2], [2, 2]]), start=np.array([[1, 0], [0, 4]])),
    Dict({"speed": Box(-1, 1, (2,)), "gear": Discrete(3)}),
    Dict({"screen": Box(0, 255, (4, 4), np.uint8), "lamp": MultiBinary(1)}),
    Tuple((Box(-1, 1, (2,)), MultiBinary(2), Discrete(4))),
    NESTED,
    Box(-1.0, 1.0, (), np.float32),
]


def seen(space: gym.Space[Any], actions: gym.Space[Any] | None = None) -> type[Line]:
    """A line that is observed as a sample of the space."""

    class Odd(Line):
        observation_space = space
        action_space = actions or Line.action_space

        def look(self) -> Any:
            return space.sample()

    return Odd


@pytest.mark.parametrize("space", [SPACES[1], SPACES[6], NESTED, SPACES[-1]], ids=repr)
def test_what_is_no_box_is_learned_from_and_exported_as_it_is(space: gym.Space[Any]) -> None:
    with registered(seen(space)) as spec:
        facts = inspect_environment(spec)
        trainee = build_trainee(Recipe("odd", spec, LOOP, agent=DqnConfig(batch_size=8), replay=REPLAY), 0)
        trainee.train()
        message = described_observations(facts.observation_space, 0, facts.description, spec.id, facts.emitted_space)
        box, env = flat_box(space), make_env(spec)
        observations = np.stack([env.reset(seed=seed)[0] for seed in range(64)])
        exported = export_policy(trainee.agent.policy(), pb.PolicySpec(observation=message), observations)
    assert box is not None
    assert (DTYPES[message.dtype], tuple(message.shape)) == (box.dtype, box.shape)
    assert exported.spec.parity.largest_value_difference < 1e-4


@pytest.mark.parametrize("space", [space for space in SPACES if not isinstance(space, Box)], ids=repr)
def test_a_tensor_holds_every_number_of_an_observation_and_gives_them_back(space: gym.Space[Any]) -> None:
    layout, box = layout_of(space), flat_box(space)
    assert layout is not None
    assert box is not None
    space.seed(0)
    samples = [space.sample() for _ in range(5)]
    flat = np.stack([flattened(sample, layout) for sample in samples])
    assert all(box.contains(np.asarray(row)) for row in flat)
    back = unflattened(space, flat)
    again = layout.flatten(back, lambda value, _: np.asarray(value))
    np.testing.assert_array_equal(again, flat)
    gym_flat = np.concatenate([np.ravel(leaf) for leaf in _leaves(samples[0])])
    np.testing.assert_allclose(flat[0].ravel(), gym_flat)


def _leaves(sample: Any) -> list[Any]:
    if isinstance(sample, dict):
        return [leaf for part in sample.values() for leaf in _leaves(part)]
    if isinstance(sample, tuple):
        return [leaf for part in sample for leaf in _leaves(part)]
    return [sample]


def test_the_spec_names_each_part_with_its_place() -> None:
    message = observation_message(NESTED)
    assert message is not None
    parts = [(list(part.path), part.offset, list(part.shape), list(part.n), list(part.start)) for part in message.parts]
    assert parts == [
        (["arm", "grip"], 0, [], [3], [-1]),
        (["arm", "joints"], 1, [2, 2], [], []),
        (["seen", "0"], 5, [2], [2], []),
        (["seen", "1"], 7, [2], [3, 2], [5, 0]),
    ]
    assert message.dtype == pb.FLOAT64


@pytest.mark.parametrize(
    ("space", "dtype"),
    [
        (Dict({"a": Discrete(3), "b": Discrete(5)}), "int64"),
        (Dict({"a": Discrete(3), "b": Box(-1, 1, (2,))}), "float32"),
        (Dict({"a": Discrete(1 << 25), "b": Box(-1, 1, (2,))}), "float64"),
        (Dict({"a": Box(0, 255, (2,), np.uint8), "b": MultiBinary(2)}), "uint8"),
        (Dict({"a": Box(0, 9, (2,), np.int64), "b": Box(-1, 1, (2,))}), "float64"),
    ],
    ids=repr,
)
def test_the_tensor_has_the_smallest_dtype_that_changes_no_number(space: gym.Space[Any], dtype: str) -> None:
    box = flat_box(space)
    assert box is not None
    assert box.dtype.name == dtype


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"speed": [0, 0]}, r"observation: expected the keys 'gear', 'speed', got 'speed'"),
        ({"speed": [0, 0], "gear": 1, "lamp": 1}, r"got 'speed', 'gear', 'lamp'"),
        ([0, 0, 1], r"observation: expected a mapping with the keys 'gear', 'speed', got list"),
        ({"speed": [0, 0, 0], "gear": 1}, r"observation\['speed'\]: expected float32 \(2,\), got int64 \(3,\)"),
        ({"speed": [0, 0], "gear": 3}, r"observation\['gear'\]: expected whole numbers from 0 to 2, got 3"),
        ({"speed": [0, 0], "gear": 0.5}, r"observation\['gear'\]: expected whole numbers .*, got 0\.5"),
        ({"speed": np.zeros((4, 2)), "gear": [0, 1, 0]}, "expected as many observations in every part, got 3, 4"),
    ],
)
def test_an_error_names_the_key(given: Any, sentence: str) -> None:
    layout = layout_of(Dict({"speed": Box(-1, 1, (2,)), "gear": Discrete(3)}))
    assert layout is not None
    with pytest.raises(PartError, match=sentence):
        layout.flatten(given, lambda value, _: np.asarray(value))


def test_a_layout_whose_parts_do_not_fill_the_tensor_is_refused() -> None:
    message = observation_message(NESTED)
    assert message is not None
    message.shape[:] = [10]
    with pytest.raises(ValueError, match="expected 10 numbers, as in the shape"):
        Layout.of(message)
    message.parts[1].offset = 2
    with pytest.raises(ValueError, match=r"expected 'arm.joints' at 1, got 2"):
        Layout.of(message)


def test_an_observation_that_its_space_does_not_allow_is_told_with_its_key_and_step() -> None:
    class Slips(InParts):
        def look(self) -> dict[str, Any]:
            return super().look() | {"gear": 7}

    with registered(Slips) as spec, pytest.raises(FaultyEnvironment, match=r"reset with seed 0 gave .*\['gear'\]"):
        inspect_environment(spec)


def test_a_part_that_has_no_fixed_size_leaves_no_layout() -> None:
    assert layout_of(Dict({"name": Text(5), "speed": Box(-1, 1, (2,))})) is None


def test_the_numbers_of_a_dict_are_named_by_its_keys_with_the_units_that_it_tells() -> None:
    with registered(InParts) as spec:
        names = describe(spec.id, make_env(spec)).components
    assert names == (("gear", ""), ("lamp", ""), ("speed 0", "m/s"), ("speed 1", "m/s"))


def test_a_stack_of_frames_in_parts_is_learned_from() -> None:
    with registered(seen(SPACES[5])) as spec:
        stacked = type(spec)(spec.id, frames=3)
        facts = inspect_environment(stacked)
        build_trainee(Recipe("odd", stacked, LOOP, agent=DqnConfig(batch_size=8), replay=REPLAY), 0).train()
    assert facts.observation_space.shape == (3, 3)


def test_actions_that_begin_at_another_number_are_learned_and_answered_as_they_are() -> None:
    actions = Discrete(3, start=-1)
    with registered(seen(Discrete(4), actions)) as spec:
        trainee = build_trainee(Recipe("odd", spec, LOOP, agent=DqnConfig(batch_size=8), replay=REPLAY), 0)
        trainee.train()
        exported = export_policy(trainee.agent.policy(), pb.PolicySpec(), np.arange(64) % 4)
    assert set(exported.golden["action"]) <= {-1, 0, 1}
    assert described_actions(actions, Description(), "Odd-v0").discrete.start == -1


def test_ddpg_learns_from_what_is_no_box() -> None:
    with registered(seen(NESTED, Box(-1.0, 1.0, (1,)))) as spec:
        build_trainee(Recipe("odd", spec, LOOP, agent=DdpgConfig(batch_size=8), replay=REPLAY), 0).train()


def test_a_policy_does_not_play_where_the_parts_are_others() -> None:
    with registered(seen(Dict({"a": Discrete(3), "b": Discrete(3)}))) as spec:
        facts = inspect_environment(spec)
        policy = pb.PolicySpec(
            name="odd",
            observation=observation_message(facts.emitted_space),  # type: ignore[arg-type] # there is one
            action=described_actions(facts.action_space, Description(), "Odd-v0"),
        )
        check_fits(spec, policy)
        policy.observation.parts[0].n[0] = 4
        with pytest.raises(UnsupportedEnvironment, match="expected observations of a, b, got a, b, or other values"):
            check_fits(spec, policy)


def test_a_category_of_too_many_values_is_told_with_the_environment_and_the_limit() -> None:
    with registered(seen(Discrete(500_000))) as spec:
        told = rf"^{spec.id}: expected observations of at most 65,536 numbers .* got 500,000 in Discrete"
        with pytest.raises(UnsupportedEnvironment, match=told):
            build_trainee(Recipe("odd", spec, LOOP), 0)
