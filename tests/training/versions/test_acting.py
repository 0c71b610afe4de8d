"""A version that was trained here takes the observations that a loaded or a served one takes."""

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Space, Tuple

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.layouts import observation_message
from polserve.training.errors import InvalidOption
from polserve.training.versions.acting import batch_of

PARTS = Dict({"gear": Discrete(3), "speed": Box(-1, 1, (2,))})
PAIR = Tuple((Box(-1, 1, (2,)), Discrete(3)))
LINE = Box(-1, 1, (3,))


def contract(space: Space[Any]) -> pb.ObservationSpec:
    message = observation_message(space)
    assert message is not None
    return message


@pytest.mark.parametrize(
    ("space", "given", "expected"),
    [
        (PARTS, {"gear": 2, "speed": [0.5, -0.5]}, [2, 0.5, -0.5]),
        (PARTS, {"gear": [2, 1], "speed": np.zeros((2, 2))}, [[2, 0, 0], [1, 0, 0]]),
        (PARTS, [2, 0.5, -0.5], [2, 0.5, -0.5]),
        (PAIR, ([0.5, -0.5], 2), [0.5, -0.5, 2]),
        (PAIR, (0.5, -0.5, 2), [0.5, -0.5, 2]),
        (LINE, (0.5, -0.5, 0.0), [0.5, -0.5, 0.0]),
        (LINE, [[0.5, -0.5, 0.0]], [[0.5, -0.5, 0.0]]),
    ],
)
def test_an_observation_may_come_in_parts(space: Space[Any], given: Any, expected: Any) -> None:
    batch, is_one = batch_of(contract(space), given)
    assert is_one is (np.ndim(expected) == 1)
    assert batch.tolist() == np.atleast_2d(np.asarray(expected, batch.dtype)).tolist()


@pytest.mark.parametrize(
    ("space", "given", "message"),
    [
        (PARTS, {"gear": 2}, r"observation: expected the keys 'gear', 'speed', got 'gear'"),
        (PARTS, {"gear": 3, "speed": [0.5, -0.5]}, r"observation\['gear'\]: expected whole numbers from 0 to 2, got 3"),
        (PAIR, ([0.5, -0.5], "fast"), r"observation\[1\]: expected numbers"),
        (LINE, {"speed": 1}, "observation: expected an array: observations of this policy have no keys"),
        (LINE, [[1], [2, 3]], "observation: expected numbers in an array"),
    ],
)
def test_a_part_that_is_none_is_named(space: Space[Any], given: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        batch_of(contract(space), given)
