"""Names are of what a policy takes and answers: after the wrappers, and not before them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers

from polserve.training.environments.descriptions import Description, describe
from polserve.training.environments.making import EnvironmentSpec, make_env
from polserve.training.errors import UnsupportedEnvironment
from tests.support.strangers import InParts, Labelled, Line, Swapped, Three, ThreeNamed, registered


def described(make: Callable[..., Any]) -> Description:
    with registered(make) as spec:
        return describe(spec.id, make_env(spec))


FIVE = ("far left", "left", "stay", "right", "far right")
POLE = ("cart position", "cart velocity", "pole angle", "pole angular velocity")


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (Labelled, FIVE),
        (lambda: wrappers.RecordEpisodeStatistics(Labelled()), FIVE),
        (lambda: wrappers.StickyAction(Labelled(), 0.1), FIVE),
        (lambda: ThreeNamed(Labelled()), ("far left", "stay", "far right")),
    ],
)
def test_labels_are_those_of_the_actions_that_the_policy_has(make: Callable[..., Any], labels: tuple[str, ...]) -> None:
    description = described(make)
    assert description.labels == labels
    assert description.left_out == ()


@pytest.mark.parametrize("wrapper", [Three, Swapped])
def test_labels_of_actions_that_a_wrapper_changes_are_left_out_with_the_reason(wrapper: Callable[..., Any]) -> None:
    description = described(lambda: wrapper(Labelled()))
    assert description.labels == ()
    assert "action_labels left out of the spec" in description.left_out[0]
    assert f"{wrapper.__name__} changes the actions" in description.left_out[0]


def test_a_flattened_dict_is_named_in_the_spaces_own_order() -> None:
    components = described(lambda: wrappers.FlattenObservation(InParts())).components
    assert components == (("gear = 0", ""), ("gear = 1", ""), ("lamp", ""), ("speed 0", "m/s"), ("speed 1", "m/s"))


def test_a_flattened_dict_without_metadata_is_named_by_its_keys() -> None:
    class Untold(InParts):
        metadata = {"render_modes": []}  # noqa: RUF012

    filtered = described(lambda: wrappers.FlattenObservation(wrappers.FilterObservation(Untold(), ["lamp", "speed"])))
    assert filtered.components == (("lamp", ""), ("speed 0", ""), ("speed 1", ""))


def test_names_of_a_dict_that_are_none_of_its_keys_are_refused() -> None:
    class Misnamed(InParts):
        metadata = {"render_modes": [], "observation_components": [["speed", ""], ["gear", ""], ["lump", ""]]}  # noqa: RUF012

    with pytest.raises(UnsupportedEnvironment, match=r"expected \[name, unit\] of each of gear, lamp, speed"):
        described(lambda: wrappers.FlattenObservation(Misnamed()))


def test_known_names_follow_the_environment_and_not_the_id() -> None:
    def wrapped() -> Any:
        return wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))

    assert tuple(name for name, _ in described(wrapped).components) == POLE
    assert described(Line).components == ()
    assert describe("CartPole-v1", Line()).components == ()


def test_known_names_of_observations_with_more_in_them_are_left_out() -> None:
    description = described(lambda: wrappers.TimeAwareObservation(gym.make("CartPole-v1")))
    assert description.components == ()
    assert description.labels == ("push left", "push right")
    assert "TimeAwareObservation changes the observations" in description.left_out[0]


def test_rescaled_actions_keep_their_names_and_lose_their_units() -> None:
    description = described(lambda: wrappers.RescaleAction(gym.make("Pendulum-v1"), np.float32(-1), np.float32(1)))
    assert description.action_components == (("torque", ""),)


def test_an_atari_games_labels_are_of_its_action_set() -> None:
    pytest.importorskip("ale_py")
    few, full = (
        describe("ALE/Pong-v5", make_env(EnvironmentSpec("ALE/Pong-v5", {"full_action_space": is_full})))
        for is_full in (False, True)
    )
    assert (len(few.labels), len(full.labels)) == (6, 18)


def test_names_that_nobody_told_are_left_out_of_a_stack_of_frames_without_a_note() -> None:
    class Untold(InParts):
        metadata = {"render_modes": []}  # noqa: RUF012

    with registered(Untold) as spec:
        stacked = describe(spec.id, make_env(replace(spec, frames=3)))
    assert stacked == Description()
    pole = EnvironmentSpec("CartPole-v1", frames=3)
    assert describe(pole.id, make_env(pole)) == Description(labels=("push left", "push right"))


def test_names_that_are_told_are_left_out_of_a_stack_of_frames_with_a_note() -> None:
    with registered(InParts) as spec:
        stacked = describe(spec.id, make_env(replace(spec, frames=3)))
    assert stacked.components == ()
    assert "FrameStackObservation changes the observations that they name" in stacked.left_out[0]
