"""Which wrappers go into a policy's graph, and how an environment is played beneath them."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.spaces import Box, Dict, Discrete
from numpy.typing import NDArray

from polserve.training.environments.inspection import EnvironmentFacts, check_fits, inspect_environment
from polserve.training.environments.making import EnvironmentSpec, make_env, make_vec, with_graph_wrappers
from polserve.training.environments.transforms import Rescale, Standardise, rescaling
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.evaluation.episodes import play_episodes
from polserve.training.learning.collector import Collector
from tests.support.strangers import InParts, Line, OwnStatistics, like, registered

UNBOUNDED = Box(-np.inf, np.inf, (3,), np.float32)
BOUNDED = Box(np.array([-1, -2, -8], np.float32), np.array([1, 2, 8], np.float32))
PIXELS = Box(0, 255, (4, 4), np.uint8)
NONE = (-np.inf, np.inf)
WIDE = Box(-np.inf, np.inf, (2,), np.float32)


def clipped(env: gym.Env[Any, Any], size: float = 1.0) -> gym.Env[Any, Any]:
    return wrappers.TransformObservation(env, lambda observation: np.clip(observation, -size, size), None)


def normalised(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return wrappers.NormalizeObservation(env)


class Noisy(gym.ObservationWrapper[Any, Any, Any]):
    def observation(self, observation: Any) -> Any:
        return observation + np.float32(1)


class Halved(wrappers.TransformObservation[Any, Any, Any]):
    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env, lambda observation: observation / 2, None)


class Remembering(Halved):
    def observation(self, observation: Any) -> Any:
        self.latest = observation
        return super().observation(observation)


class Sly(gym.Wrapper[Any, Any, Any, Any]):
    """It changes observations, and does not say so by its kind or its space."""

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        return observation * np.float32(2), *rest


def trained_in(make: Callable[..., Any]) -> tuple[EnvironmentSpec, EnvironmentFacts]:
    with registered(make) as spec:
        beneath = with_graph_wrappers(spec)
        return beneath, inspect_environment(beneath)


@pytest.mark.parametrize(
    ("function", "before", "factor", "offset", "ends"),
    [
        (lambda o: np.clip(o, -10, 10), UNBOUNDED, 1, 0, (-10, 10)),
        (lambda o: np.clip(o, -1e-3, 1e-3), UNBOUNDED, 1, 0, (-1e-3, 1e-3)),
        (lambda o: (o - np.float32(0.2)) / np.float32(4), UNBOUNDED, 0.25, -0.05, NONE),
        (lambda o: np.clip(1 - 2 * o, -3, 0.5), UNBOUNDED, -2, 1, (-3, 0.5)),
        (lambda o: np.maximum(o, 0), UNBOUNDED, 1, 0, (0, np.inf)),
        (lambda o: o / np.array([5, 1, 2], np.float32), BOUNDED, [0.2, 1, 0.5], 0, NONE),
        (lambda o: o / 255.0, PIXELS, 1 / 255, 0, NONE),
        (lambda o: o * 0 + 3, UNBOUNDED, 0, 3, NONE),
        (lambda o: o, BOUNDED, 1, 0, NONE),
    ],
)
def test_a_function_that_rescales_and_clips_is_understood(
    function: Callable[[Any], Any], before: Box, factor: Any, offset: float, ends: tuple[float, float]
) -> None:
    found = rescaling(function, before, Box(-np.inf, np.inf, before.shape, np.float32))
    assert isinstance(found, Rescale)
    for given, expected in (
        (found.factor, factor),
        (found.offset, offset),
        (found.low, ends[0]),
        (found.high, ends[1]),
    ):
        np.testing.assert_allclose(given, np.broadcast_to(expected, before.shape), rtol=1e-5, atol=1e-6)


def _broken(_observation: Any) -> Any:
    raise ValueError("no such number")


@pytest.mark.parametrize(
    "function",
    [
        np.tanh,
        np.sin,
        np.abs,
        np.sign,
        lambda o: o[::-1],
        lambda o: o[:2],
        lambda o: o + o.sum(),
        lambda o: o + np.random.default_rng().normal(size=3),
        lambda o: o / np.linalg.norm(o),
        lambda o: np.where(o > 1, 2 * o, o),
        _broken,
    ],
)
def test_any_other_function_is_not(function: Callable[[Any], Any]) -> None:
    assert rescaling(function, UNBOUNDED, UNBOUNDED) is None


def test_a_normalised_environment_is_played_beneath_its_wrappers() -> None:
    with registered(lambda: clipped(normalised(Line()))) as spec:
        beneath = with_graph_wrappers(spec)
        assert beneath.graph_wrappers == ("NormalizeObservation", "TransformObservation")
        env, plain = make_env(beneath), Line()
        given = [env.reset(seed=3)[0], *(env.step(np.int64(1))[0] for _ in range(5))]
        expected = [plain.reset(seed=3)[0], *(plain.step(np.int64(1))[0] for _ in range(5))]
        assert env.observation_space == plain.observation_space
        np.testing.assert_array_equal(given, expected)
        assert make_vec(beneath, 2).single_observation_space == plain.observation_space


def test_what_the_graph_is_to_do_is_found_with_its_statistics() -> None:
    def known() -> Any:
        env = wrappers.NormalizeObservation(Line(), epsilon=1e-4)
        env.obs_rms.mean, env.obs_rms.var, env.obs_rms.count = np.array([1.0, 2.0]), np.array([4.0, 9.0]), 50
        env.update_running_mean = False
        return env

    _, facts = trained_in(known)
    (found,) = facts.transforms
    assert isinstance(found, Standardise)
    assert (found.mean.tolist(), found.var.tolist(), found.count) == ([1.0, 2.0], [4.0, 9.0], 50.0)
    assert (found.epsilon, found.is_updated) == (1e-4, False)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # Gymnasium's, in DtypeObservation
@pytest.mark.parametrize(
    ("make", "in_graph", "by_client", "frames"),
    [
        (lambda: wrappers.RescaleObservation(Line(), np.float32(-1), np.float32(1)), ["RescaleObservation"], [], 0),
        (lambda: wrappers.ReshapeObservation(Line(), (2, 1)), ["ReshapeObservation"], [], 0),
        (lambda: wrappers.DtypeObservation(Line(), np.float64), ["DtypeObservation"], [], 0),
        (lambda: wrappers.FrameStackObservation(Line(), 3), ["FrameStackObservation"], [], 3),
        (lambda: wrappers.FrameStackObservation(Line(), 3, padding_type="zero"), [], ["FrameStackObservation"], 0),
        (lambda: wrappers.FlattenObservation(InParts()), [], ["FlattenObservation"], 0),
        (lambda: wrappers.TimeAwareObservation(wrappers.TimeLimit(Line(), 9)), [], ["TimeAwareObservation"], 0),
        (lambda: Halved(Line()), ["Halved"], [], 0),
        (lambda: Remembering(Line()), [], ["Remembering"], 0),
        (lambda: clipped(Noisy(clipped(Line()))), ["TransformObservation"], ["TransformObservation", "Noisy"], 0),
        (
            lambda: wrappers.FrameStackObservation(normalised(clipped(Line())), 2),
            ["TransformObservation", "NormalizeObservation", "FrameStackObservation"],
            [],
            2,
        ),
        (
            lambda: wrappers.FlattenObservation(wrappers.FrameStackObservation(Line(), 2)),
            ["FlattenObservation"],
            ["FrameStackObservation"],
            0,
        ),
    ],
)
def test_wrappers_go_into_the_graph_from_the_outermost_to_the_first_that_cannot(
    make: Callable[..., Any], in_graph: list[str], by_client: list[str], frames: int
) -> None:
    spec, facts = trained_in(make)
    assert list(spec.graph_wrappers) == list(facts.graph_wrappers) == in_graph
    assert list(facts.client_wrappers) == by_client
    assert spec.frames == facts.frames == frames


def test_a_stack_of_frames_is_stacked_by_us_from_the_frames_beneath() -> None:
    with registered(lambda: wrappers.FrameStackObservation(normalised(Line()), 3)) as spec:
        env = make_env(with_graph_wrappers(spec))
        first, _ = env.reset(seed=0)
        second, *_ = env.step(np.int64(0))
    assert first.shape == (3, 2)
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(second[:2], first[1:])


def test_callers_are_told_what_the_graph_does_and_what_they_do() -> None:
    _, facts = trained_in(lambda: clipped(Noisy(Line())))
    notes = " ".join(facts.notes)
    assert "the graph does what TransformObservation does to observations" in notes
    assert "the policy takes what Noisy makes of an observation: its callers do the same" in notes


def test_components_have_the_names_that_they_have_beneath_the_wrappers() -> None:
    class Named(Line):
        metadata = {"render_modes": [], "observation_components": [["place", "m"], ["distance", "m"]]}  # noqa: RUF012

    _, facts = trained_in(lambda: clipped(normalised(Named())))
    assert facts.description.components == (("place", "m"), ("distance", "m"))
    assert facts.description.left_out == ()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Noisy(normalised(Line())),
            "NormalizeObservation normalises observations by statistics .* has seen, and Noisy .*put Noisy beneath",
        ),
        (
            lambda: wrappers.TransformObservation(normalised(Line()), np.tanh, WIDE),
            "and TransformObservation around it transforms",
        ),
        (lambda: OwnStatistics(Line()), "OwnStatistics normalises .* use gymnasium.wrappers.NormalizeObservation"),
        (lambda: Sly(normalised(Line())), r"a wrapper around changes them too \(Sly\); derive it from gymnasium"),
    ],
)
def test_statistics_that_cannot_be_put_into_the_graph_are_refused(make: Callable[..., Any], sentence: str) -> None:
    with pytest.raises(UnsupportedEnvironment, match=f"^Odd-v0: .*{sentence}"):
        trained_in(make)


def test_a_policy_without_the_statistics_is_not_played_where_they_are() -> None:
    with registered(lambda: normalised(Line())) as spec:
        with pytest.raises(
            UnsupportedEnvironment, match="which the policy's graph lacks; play the environment without"
        ):
            make_env(spec)
        assert make_env(EnvironmentSpec(spec.id, graph_wrappers=("NormalizeObservation",))).reset(seed=0)


def test_a_policy_with_wrappers_in_its_graph_plays_the_environment_that_has_none() -> None:
    with registered(Line) as spec:
        env = make_env(EnvironmentSpec(spec.id, graph_wrappers=("NormalizeObservation",)))
        assert env.observation_space == Line.observation_space


def test_a_policy_is_not_played_where_other_wrappers_are_in_that_place() -> None:
    said = "graph does what NormalizeObservation does to observations, and the environment has TransformObservation in"
    with registered(lambda: clipped(Line())) as spec, pytest.raises(UnsupportedEnvironment, match=said):
        make_env(EnvironmentSpec(spec.id, graph_wrappers=("NormalizeObservation",)))


def test_a_vectorised_implementation_is_not_used_beneath_wrappers() -> None:
    with registered(lambda: clipped(Line()), vector_entry_point=lambda **_: None) as spec:
        assert make_vec(with_graph_wrappers(spec), 2).num_envs == 2


class PaysTwo(Line):
    def earn(self) -> float:
        return 2.0

    def is_over(self) -> bool:
        return self.steps == 3


def scaled_rewards() -> gym.Env[Any, Any]:
    env: Any = wrappers.NormalizeReward(PaysTwo())
    return wrappers.TransformReward(env, lambda reward: min(max(float(reward), -1.0), 1.0))


def test_returns_are_of_the_rewards_beneath_what_scales_them_and_learning_sees_the_others() -> None:
    def act(observations: NDArray[Any]) -> NDArray[np.int64]:
        return np.ones(len(observations), np.int64)

    with registered(scaled_rewards) as spec:
        assert [episode.episode_return for episode in play_episodes(act, spec, 3, 0)] == [6.0] * 3
        collector = Collector(make_vec(spec, 2), [0, 1])
        rewards = np.concatenate([collector.step(act).reward_t for _ in range(8)])
        assert [episode.episode_return for episode in collector.finished()] == [6.0] * 4
    assert rewards.max() <= 1.0


def test_a_spec_that_names_wrappers_is_checked_against_what_is_beneath_them() -> None:
    from polserve.protos.polserve.v1 import policy_pb2 as pb

    observation = pb.ObservationSpec(dtype=pb.FLOAT32, shape=[2])
    policy = pb.PolicySpec(observation=observation, action=pb.ActionSpec(discrete=pb.DiscreteActions(n=2)))
    with registered(lambda: wrappers.ReshapeObservation(normalised(Line()), (2, 1))) as spec:
        names = ("NormalizeObservation", "ReshapeObservation")
        check_fits(EnvironmentSpec(spec.id, graph_wrappers=names), policy)


def test_an_observation_that_no_version_can_carry_stays_inside() -> None:
    space = Dict({"a": Box(-1, 1, (2,)), "b": Discrete(2)})
    parts = like("look", {"a": np.zeros(2, np.float32), "b": 1}, like("observation_space", space))
    spec, _ = trained_in(lambda: normalised(wrappers.FlattenObservation(parts())))
    assert spec.graph_wrappers == ("NormalizeObservation",)
