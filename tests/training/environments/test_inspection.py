"""What environments of others do is taken right, or refused before training with its true cause."""

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from polserve.training.environments.checked import Checked, CheckedVec
from polserve.training.environments.inspection import inspect_environment
from polserve.training.environments.making import EnvironmentSpec, has_vectorised, make_env, make_vec
from polserve.training.errors import FaultyEnvironment, InvalidOption, UnsupportedEnvironment
from polserve.training.evaluation.episodes import play_episodes, random_policy
from tests.support.strangers import (
    BreaksLater,
    Exits,
    Line,
    NoInfo,
    NoOptions,
    OldReset,
    OldStep,
    OldStepOutside,
    OwnStatistics,
    Sensor,
    Unseeded,
    WritesInto,
    like,
    registered,
)

RESET = r"Gymnasium's reset\(self, \*, seed=None, options=None\) returns \(observation, info\)"
OLD = r"the old API of gym.*, or register the environment with gym and give --env gym:ID$"
IMPOSSIBLE = [
    (OldStep, rf"^Odd-v0: step returned 4 values, Gymnasium's API has 5; step\(self, action\) returns .* {OLD}"),
    (lambda: OldStepOutside(Line()), r"^Odd-v0: OldStepOutside\.step returned 4 values"),
    (OldReset, rf"^Odd-v0: reset does not take seed and options, {RESET}; {OLD}"),
    (NoOptions, rf"^Odd-v0: reset does not take options, {RESET}; {OLD}"),
    (NoInfo, rf"^Odd-v0: reset returned array \(2,\) of float32, {RESET}$"),
    (like("look", None), r"gave an observation None; expected numbers, its space is Box"),
    (like("look", "far"), r"gave an observation 'far'; expected numbers"),
    (like("look", [1.0, [2.0]]), r"gave an observation list of 2, which is no array"),
    (like("look", np.zeros(3, np.float32)), r"gave an observation of shape \(3,\); expected \(2,\)"),
    (like("look", [np.inf, 0.0]), r"observation\[0\] is inf; expected a finite float32"),
    (like("look", [1e300, 0.0]), r"observation\[0\] is 1e\+300; expected a finite float32"),
    (
        like("look", [0.5, 1.0], like("observation_space", Box(0, 9, (2,), np.int64))),
        r"gave 0\.5 in an observation of int64; state another dtype in its space",
    ),
    (like("earn", None), r"gave a reward None; expected one number"),
    (like("earn", "1.0"), r"gave a reward '1\.0'; expected one number"),
    (like("earn", np.zeros(2)), r"gave a reward array \(2,\) of float64; expected one number"),
    (like("earn", float("nan")), r"step 1 of an episode with seed 0 gave the reward nan; expected a finite number"),
    (like("earn", 1e300), r"gave the reward 1e\+300; expected a finite number of at most 3\.4e\+38"),
    (
        like("look", np.array([1e39, 0.0]), like("observation_space", Box(-1e40, 1e40, (2,), np.float64))),
        r"observation\[0\] is 1e\+39; expected a finite number of at most 3\.4e\+38, since networks compute in float32",
    ),
    (Exits, r"^Odd-v0: step raised SystemExit: 3 \(strangers\.py:\d+\); mend the environment$"),
    (like("is_over", None), r"gave terminated = None; expected True or False"),
    (like("tell", [1]), r"Gymnasium's reset|returned info"),
]


@pytest.mark.parametrize(("make", "sentence"), IMPOSSIBLE)
def test_what_breaks_gymnasiums_api_is_told_in_one_line(make: Callable[..., Any], sentence: str) -> None:
    with registered(make) as spec, pytest.raises(FaultyEnvironment, match=sentence) as caught:
        inspect_environment(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        like("look", [0.0, 1.0]),
        like("look", (0.0, 1)),
        like("look", np.array([0.0, 1.0])),
        like("earn", np.array([1.0])),
        like("earn", np.int32(1)),
        like("is_over", 1),
        like("is_over", np.array([False])),
        like("tell", None),
        like("tell", {"path": np.zeros(3), "name": "x"}),
    ],
)
def test_what_means_the_same_is_cast_to_it(make: Callable[..., Any]) -> None:
    with registered(make) as spec:
        env = make_env(spec)
        observation, info = env.reset(seed=0)
        assert observation.dtype == np.float32
        assert isinstance(info, dict)
        observation, reward, terminated, truncated, _ = env.step(np.int64(1))
        assert observation.dtype == np.float32
        assert [type(each) for each in (reward, terminated, truncated)] == [float, bool, bool]
        assert len(play_episodes(random_policy(spec, 0), spec, 2, 0)) == 2


def test_infos_that_gymnasium_cannot_put_together_end_no_training() -> None:
    lengths = iter(range(1, 1_000))

    class Chatty(Line):
        def tell(self) -> dict[str, Any]:
            return {"path": np.zeros(next(lengths))}

    with registered(Chatty) as spec:
        assert len(play_episodes(random_policy(spec, 0), spec, 3, 0)) == 3


def test_an_observation_that_is_written_into_later_is_compared_as_it_was() -> None:
    with registered(WritesInto, max_episode_steps=9) as spec:
        assert not inspect_environment(spec).cautions


def test_an_exception_of_the_environment_is_told_with_its_line_and_step() -> None:
    with registered(BreaksLater, max_episode_steps=40) as spec:
        inspect_environment(spec)
        said = r"^Odd-v0: step 31 of an episode with seed 7 raised RuntimeError: the motor is hot \(strangers\.py:\d+\)"
        with pytest.raises(FaultyEnvironment, match=said):
            play_episodes(random_policy(spec, 0), spec, 1, 7)


def test_the_first_nan_is_told_with_its_component_and_step() -> None:
    with registered(Sensor, max_episode_steps=40) as spec:
        inspect_environment(spec)
        said = r"^Odd-v0: step 31 of an episode with seed 7: observation\[1\] \(distance\) is nan; expected a finite"
        with pytest.raises(FaultyEnvironment, match=said):
            play_episodes(random_policy(spec, 0), spec, 1, 7)


class Fails(Line):
    def __init__(self, size: int = 5) -> None:
        if size > 9:
            raise ValueError(f"no line of {size}")
        self.size = size / size  # 0 raises


class Needs(Line):
    def __init__(self, size: int) -> None:
        self.size = size


class Undrawn(Needs):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012


class SpaceLess(gym.Env[Any, Any]):
    pass


class OldSpace(Line):
    observation_space = type("Box", (), {"__module__": "gym.spaces.box"})()


@pytest.mark.parametrize(
    ("make", "kwargs", "kind", "sentence"),
    [
        (Fails, {"size": 10}, UnsupportedEnvironment, r"__init__ raised ValueError: no line of 10 \(test_inspection"),
        (Fails, {"size": 0}, UnsupportedEnvironment, r"__init__ raised ZeroDivisionError: .* \(test_inspection"),
        (Fails, {"size": "a"}, UnsupportedEnvironment, r"__init__ raised TypeError: .* \(test_inspection"),
        (
            Fails,
            {"width": 1},
            InvalidOption,
            r"does not take the arguments .*width.*'width'; see --env-kwargs",
        ),
        (
            Needs,
            {},
            InvalidOption,
            r"does not take the arguments {}: .* missing .* 'size'; see --env-kwargs",
        ),
        (Undrawn, {"render_mode": "rgb_array", "size": 1}, UnsupportedEnvironment, "its __init__ takes no render_mode"),
        (SpaceLess, {}, UnsupportedEnvironment, r"observation_space: expected a space of gymnasium.spaces, got none"),
        (
            OldSpace,
            {},
            UnsupportedEnvironment,
            r"expected a space of gymnasium.spaces, got gym.spaces.box.Box; move it .* gym:ID",
        ),
        (
            dict,
            {},
            UnsupportedEnvironment,
            r"cannot be made: The environment must inherit from the gymnasium.Env.*gym:ID",
        ),
    ],
)
def test_an_environment_that_cannot_be_made_says_why(
    make: Callable[..., Any], kwargs: dict[str, object], kind: type[Exception], sentence: str
) -> None:
    with registered(make) as spec, pytest.raises(kind, match=sentence):
        make_env(EnvironmentSpec(spec.id, kwargs))


def test_an_environment_that_knows_no_render_mode_is_made() -> None:
    with registered(Needs) as spec:
        assert make_env(EnvironmentSpec(spec.id, {"size": 1})).observation_space.shape == (2,)


def test_an_environment_that_cannot_close_is_left() -> None:
    class Stuck(Line):
        def close(self) -> None:
            raise RuntimeError("stuck")

    with registered(Stuck) as spec:
        inspect_environment(spec)


@pytest.mark.parametrize("make", [lambda: wrappers.NormalizeObservation(Line()), lambda: OwnStatistics(Line())])
def test_statistics_that_the_graph_would_lack_are_refused(make: Callable[..., Any]) -> None:
    with registered(make) as spec, pytest.raises(UnsupportedEnvironment, match="normalises observations by statistics"):
        inspect_environment(spec)


def test_the_same_in_a_vectorised_implementation_is_refused() -> None:
    def together(num_envs: int, **_: object) -> Any:
        return wrappers.vector.NormalizeObservation(SyncVectorEnv([Line] * num_envs))

    def unbounded() -> Any:
        return wrappers.TransformObservation(Line(), lambda observation: observation, Box(-np.inf, np.inf, (2,)))

    refused = pytest.raises(UnsupportedEnvironment, match="NormalizeObservation normalises observations")
    with registered(unbounded, vector_entry_point=together) as spec, refused:
        make_vec(spec, 2)


def test_a_vectorised_implementation_of_other_spaces_is_not_used() -> None:
    def together(num_envs: int, **_: object) -> Any:
        return SyncVectorEnv(
            [lambda: wrappers.FlattenObservation(wrappers.FrameStackObservation(Line(), 2))] * num_envs
        )

    with registered(Line, vector_entry_point=together) as spec:
        assert not has_vectorised(spec)
        assert make_vec(spec, 2).single_observation_space.shape == (2,)
        assert "its vectorised implementation has other spaces" in " ".join(inspect_environment(spec).cautions)


def test_a_vectorised_implementation_is_checked_as_a_whole() -> None:
    def together(num_envs: int, **_: object) -> Any:
        envs = SyncVectorEnv([Line] * num_envs)
        envs.metadata["autoreset_mode"] = AutoresetMode.NEXT_STEP
        envs._observations = np.zeros((num_envs, 2), np.float64)  # noqa: SLF001 - what such implementations give
        return envs

    with registered(Line, vector_entry_point=together) as spec:
        envs = make_vec(spec, 2)
        assert isinstance(envs, CheckedVec)
        observation, _ = envs.reset(seed=0)
        assert observation.dtype == np.float32
        envs.unwrapped.envs[1].x = np.nan  # type: ignore[attr-defined]
        with pytest.raises(FaultyEnvironment, match=r"step 1 of its vector environment gave the reward nan in env.* 1"):
            envs.step(np.zeros(2, np.int64))


@pytest.mark.parametrize(
    ("make", "options", "caution"),
    [
        (Line, {"max_episode_steps": None}, "has no max_episode_steps: an episode that does not end by itself goes on"),
        (lambda: wrappers.NormalizeReward(Line()), {}, "returns are of the rewards beneath NormalizeReward"),
        (lambda: wrappers.ClipReward(Line(), -1, 1), {}, "returns are of the rewards as ClipReward makes them"),
        (Unseeded, {}, "two resets with one seed gave two observations"),
    ],
)
def test_what_returns_do_not_mean_is_said(make: Callable[..., Any], options: dict[str, Any], caution: str) -> None:
    with registered(make, **options) as spec:
        assert caution in " ".join(inspect_environment(spec).cautions)


@pytest.mark.parametrize(("lengths", "is_said"), [((1,), False), ((10,), False), ((10, 30, 12), True), ((200,), True)])
def test_a_missing_limit_is_said_unless_episodes_end_soon_and_all_alike(
    lengths: tuple[int, ...],
    is_said: bool,  # noqa: FBT001 - a parameter
) -> None:
    class Ends(Line):
        episodes = 0

        def reset(self, **kwargs: Any) -> Any:
            Ends.episodes += 1
            return super().reset(**kwargs)

        def is_over(self) -> bool:
            return self.steps >= lengths[Ends.episodes % len(lengths)]

    with registered(Ends, max_episode_steps=None) as spec:
        cautions = " ".join(inspect_environment(spec).cautions)
    assert ("has no max_episode_steps" in cautions) is is_said


def test_a_missing_limit_is_no_matter_of_how_fast_an_environment_is() -> None:
    class Slow(Line):
        def is_over(self) -> bool:
            time.sleep(0.02)
            return self.steps >= 10

    with registered(Slow, max_episode_steps=None) as spec:
        assert "has no max_episode_steps" not in " ".join(inspect_environment(spec).cautions)


def test_an_environment_that_fails_in_a_long_episode_is_left_to_training() -> None:
    class Jams(Line):
        def step(self, action: Any) -> Any:
            if self.steps == 20:
                raise RuntimeError("motor jam")
            return super().step(action)

    with registered(Jams, max_episode_steps=None) as spec:
        assert "has no max_episode_steps" in " ".join(inspect_environment(spec).cautions)


def test_an_honest_environment_is_praised_by_silence() -> None:
    with registered(Line) as spec:
        inspection = inspect_environment(spec)
    assert (inspection.cautions, inspection.notes) == ((), ())


def test_what_callers_have_to_do_as_wrappers_do_is_said() -> None:
    with registered(lambda: wrappers.FrameStackObservation(Line(), 4)) as spec:
        notes = " ".join(inspect_environment(spec).notes)
    assert "the policy takes what FrameStackObservation makes of an observation" in notes


def test_an_image_that_is_flattened_is_said_to_be() -> None:
    space = Dict({"camera": Box(0, 255, (8, 8, 3), np.uint8), "gear": Discrete(3)})
    camera = like("look", {"camera": np.zeros((8, 8, 3), np.uint8), "gear": 1}, like("observation_space", space))
    with registered(lambda: wrappers.FlattenObservation(camera())) as spec:
        assert "they are neither convolved nor scaled" in " ".join(inspect_environment(spec).notes)


def test_instances_with_spaces_of_their_own_are_refused() -> None:
    sizes = iter(range(1, 100))

    class Grows(Line):
        def __init__(self) -> None:
            self.observation_space = Box(-next(sizes), 10, (2,))

    with registered(Grows) as spec, pytest.raises(UnsupportedEnvironment, match="its instances differ in their spaces"):
        make_vec(spec, 2)


def test_actions_reach_the_environment_in_its_own_dtype() -> None:
    env = Checked(like("action_space", Box(-0.3, 0.1, (1,), np.float64))(), "Odd-v0")
    env.reset(seed=0)
    env.step(np.array([0.05], np.float32))  # the line asserts that its space contains it
