"""Vector environments of other people's: what they answer is looked at as that of ordinary ones is."""

from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from polserve.training.environments.checked import CheckedVec
from polserve.training.environments.making import EnvironmentSpec, make_vec
from polserve.training.errors import FaultyEnvironment, UnsupportedEnvironment

Answer: TypeAlias = tuple[Any, ...]
N = 3
ACTIONS = np.zeros(N, np.int64)


class Counting(VectorEnv[Any, Any, Any]):
    """Episodes of two steps that pay 1 each; the step after them begins new ones, as NEXT_STEP means."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as Gymnasium has it
    single_observation_space = Box(0, 9, (1,), np.float32)
    single_action_space = Discrete(2)

    def __init__(self, num_envs: int, spoil: Callable[..., Answer] = lambda *answer: answer) -> None:
        self.num_envs = num_envs
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.spoil = spoil
        self.t = 0

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return self._seen(), {}

    def step(self, actions: Any) -> Any:
        assert len(actions) == self.num_envs
        self.t = (self.t + 1) % 3
        pays, ends = np.full(self.num_envs, float(self.t > 0)), np.full(self.num_envs, self.t == 2)
        return self.spoil(self._seen(), pays, ends, np.zeros(self.num_envs, np.bool_), {})

    def _seen(self) -> Any:
        return np.full((self.num_envs, 1), self.t, np.float32)


def checked(spoil: Callable[..., Answer]) -> CheckedVec:
    envs = CheckedVec(Counting(N, spoil), "Counting-v0")
    envs.reset(seed=0)
    return envs


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda o, r, e, c, i: (o, r, e | c, i),
            "returned 4 values, Gymnasium's API has 5; .*infos.*; 4 are of the old",
        ),
        (lambda o, r, e, c, _: (o, r, e, c, []), r"returned info list of 0; expected a dict"),
        (lambda o, r, e, c, i: (o, r.sum(), e, c, i), r"gave rewards .*3\.0.*; expected 3 numbers, an array \(3,\)"),
        (lambda o, r, e, c, i: (o, r[:, None], e, c, i), r"gave rewards array \(3, 1\) of float64; expected 3 numbers"),
        (lambda o, _, e, c, i: (o, ["much"] * N, e, c, i), "gave rewards list of 3; expected 3 numbers"),
        (lambda o, r, e, c, i: (o, r, e[:2], c, i), r"gave terminated = array \(2,\) of bool; expected True or False"),
        (lambda o, r, e, c, i: (o, r, e, c + 0.5, i), r"gave truncated = array \(3,\) of float64; expected True or"),
    ],
)
def test_what_is_no_answer_of_a_vector_environment_is_refused_in_a_sentence(
    spoil: Callable[..., Answer], told: str
) -> None:
    with pytest.raises(FaultyEnvironment, match="Counting-v0: step 1 of its vector environment " + told):
        checked(spoil).step(ACTIONS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda o, r, e, c, i: (o, list(r), list(e), list(c), i),
        lambda o, r, e, c, _: (o, r.astype(int), e.astype(float), c.astype(int), None),
        lambda o, r, e, _c, i: (o, r, e, False, i),
    ],
)
def test_answers_of_another_kind_that_mean_the_same_are_taken(spoil: Callable[..., Answer]) -> None:
    envs = checked(spoil)
    for pays, ends in ((1, False), (1, True), (0, False), (1, False)):
        _, rewards, terminated, truncated, info = envs.step(ACTIONS)
        assert (rewards.tolist(), terminated.tolist(), truncated.tolist()) == ([pays] * N, [ends] * N, [False] * N)
        assert {terminated.dtype, truncated.dtype} == {np.dtype(np.bool_)}
        assert info == {}


def test_what_was_answered_stays_as_it_was_where_the_environment_writes_into_it() -> None:
    buffers = np.zeros(N), np.zeros(N, np.bool_)

    def written(o: Any, r: Any, e: Any, c: Any, i: Any) -> Answer:
        buffers[0][:], buffers[1][:] = r, e
        return o, *buffers, c, i

    envs = checked(written)
    first, second = envs.step(ACTIONS), envs.step(ACTIONS)
    assert (first[1].tolist(), first[2].tolist()) == ([1.0] * N, [False] * N)
    assert second[2].all()


def test_an_environment_that_does_not_reset_in_the_next_step_as_it_says_is_refused() -> None:
    envs = checked(lambda o, _r, e, c, i: (o, np.ones(N), e, c, i))
    envs.step(ACTIONS)
    envs.step(ACTIONS)
    with pytest.raises(
        FaultyEnvironment, match=r"step 3 of .* the reward 1.0 in environment 0, whose episode had ended"
    ):
        envs.step(ACTIONS)
    envs.reset(seed=0)
    envs.step(ACTIONS)  # an episode that was left is none that ended


def test_a_vector_environment_of_another_size_than_was_asked_for_is_refused() -> None:
    class Single(gym.Env[Any, Any]):
        observation_space = Counting.single_observation_space
        action_space = Counting.single_action_space

    gym.register("tests/OfThree-v0", lambda **_: Single(), vector_entry_point=lambda **_: Counting(3))
    try:
        with pytest.raises(UnsupportedEnvironment, match="expected a vector environment of 4, got one of 3"):
            make_vec(EnvironmentSpec("tests/OfThree-v0"), 4)
    finally:
        del gym.registry["tests/OfThree-v0"]


def test_an_environment_that_resets_in_the_same_step_is_not_told_to_say_otherwise() -> None:
    class SameStep(Counting):
        metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - as Gymnasium has it

    class Single(gym.Env[Any, Any]):
        observation_space = Counting.single_observation_space
        action_space = Counting.single_action_space

    gym.register("tests/SameStep-v0", lambda **_: Single(), vector_entry_point=lambda **_: SameStep(4))
    told = "got AutoresetMode.SAME_STEP; let it reset in the next step and say so there, or leave out"
    try:
        with pytest.raises(UnsupportedEnvironment, match=told):
            make_vec(EnvironmentSpec("tests/SameStep-v0"), 4)
    finally:
        del gym.registry["tests/SameStep-v0"]
