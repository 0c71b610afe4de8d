"""The only environment is closed while others play, and goes on with another episode."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from polserve.training.environments.making import EnvironmentSpec, make_vec
from polserve.training.environments.one import OneEnv
from polserve.training.errors import UnsupportedEnvironment
from tests.support.one import OnlyOne

ACT = np.array([1])


@pytest.fixture
def env(only_one: EnvironmentSpec) -> Iterator[OneEnv]:
    one = OneEnv(partial(make_vec, only_one))
    yield one
    one.close()
    assert OnlyOne.existing == 0


def test_another_exists_only_while_it_is_suspended(env: OneEnv, only_one: EnvironmentSpec) -> None:
    with pytest.raises(UnsupportedEnvironment, match="port 5555 is in use"):
        make_vec(only_one, 1)
    env.suspend()
    make_vec(only_one, 1).close()
    env.reset(seed=[5])
    assert OnlyOne.existing == 1


def test_after_it_the_next_step_is_that_in_which_an_environment_resets_by_itself(env: OneEnv) -> None:
    env.reset(seed=[3])
    for _ in range(OnlyOne.length):
        last, *_ = env.step(ACT)
    env.suspend()
    env.resume(4)
    first, reward, terminated, truncated, _ = env.step(ACT)
    assert (float(reward[0]), bool(terminated[0]), bool(truncated[0])) == (0.0, False, False)
    assert first[0, 0] != pytest.approx(last[0, 0], abs=0.11)
    second, *_ = env.step(ACT)
    assert second[0, 0] == pytest.approx(first[0, 0] + 0.1)


def test_an_episode_is_cut_off_as_by_a_time_limit(env: OneEnv) -> None:
    env.reset(seed=[3])
    assert not env.step(ACT)[3][0]
    env.end_episode()
    *_, terminated, truncated, _ = env.step(ACT)
    assert (bool(terminated[0]), bool(truncated[0])) == (False, True)


def test_where_several_cannot_exist_the_error_says_where_fewer_are_asked_for(only_one: EnvironmentSpec) -> None:
    with pytest.raises(UnsupportedEnvironment, match=r"port 5555 .*; where 4 may not exist at a time, docs/own-env"):
        make_vec(only_one, 4)
    assert OnlyOne.existing == 0
