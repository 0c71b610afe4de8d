"""What the spec of a policy says of its environment's spaces."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.descriptions import Description
from polserve.training.environments.layouts import MOST_BOUNDS, observation_message, parts_of
from polserve.training.environments.spaces import OBSERVED, float32_bounds, short
from polserve.training.errors import UnsupportedEnvironment


def described_observations(
    space: gym.Space[Any],
    frames: int,
    description: Description,
    environment_id: str,
    emitted_space: gym.Space[Any] | None = None,
) -> pb.ObservationSpec:
    """Return what the spec says of observations, with the names that the description gives.

    Args:
        space: of the observations, or of their tensors.
        frames: length of the stack of frames, or 0.
        description: their names.
        environment_id: that an error names.
        emitted_space: what the tensors are laid out from; None where `space` says it.

    Raises:
        UnsupportedEnvironment: no policy version can carry them.
    """
    message = observation_message(space, frames)
    if message is None:
        raise UnsupportedEnvironment(f"{environment_id}: expected observations in {OBSERVED}, got {short(space)}")
    if emitted_space is not None:
        message.parts.extend(parts_of(emitted_space))
    if len(message.low) > MOST_BOUNDS and message.parts:
        del message.low[:], message.high[:]
    message.components.extend(pb.Component(name=name, unit=unit) for name, unit in description.components)
    # NOTE: what an environment declares is not always kept by it, by its rounding or by a sensor: no bound is hard by
    # itself, so that what was trained in can be played.
    message.is_bounded = False
    return message


def described_actions(space: gym.Space[Any], description: Description, environment_id: str) -> pb.ActionSpec:
    """Return what the spec says of actions, likewise.

    Raises:
        UnsupportedEnvironment: no policy version can answer with them.
    """
    components = [pb.Component(name=name, unit=unit) for name, unit in description.action_components]
    if isinstance(space, Discrete):
        labels = description.labels
        return pb.ActionSpec(discrete=pb.DiscreteActions(n=int(space.n), start=int(space.start), labels=labels))
    if isinstance(space, (MultiDiscrete, MultiBinary)):
        return pb.ActionSpec(multi_discrete=_multi_discrete(space, components))
    if isinstance(space, Box):
        low, high = float32_bounds(space)
        shape = () if len(space.shape) == 1 else space.shape
        return pb.ActionSpec(
            continuous=pb.ContinuousActions(
                low=low.ravel().tolist(), high=high.ravel().tolist(), components=components, shape=shape
            )
        )
    raise UnsupportedEnvironment(
        f"{environment_id}: expected actions in Discrete, MultiDiscrete, MultiBinary or Box, got {short(space)}"
    )


def _multi_discrete(space: MultiDiscrete | MultiBinary, components: list[pb.Component]) -> pb.MultiDiscreteActions:
    shape = tuple(space.shape or ())
    if isinstance(space, MultiBinary):
        n, start = np.full(shape, 2), np.zeros(shape, np.int64)
    else:
        n, start = space.nvec, space.start
    return pb.MultiDiscreteActions(
        n=n.ravel().tolist(),
        start=start.ravel().tolist() if start.any() else [],
        shape=() if len(shape) == 1 else shape,
        components=components,
        is_binary=isinstance(space, MultiBinary),
    )
