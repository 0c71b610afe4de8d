"""The PolicySpec of a trained policy: everything that serving and clients need to know of it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box, Discrete

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import SCHEMA_VERSION
from polserve.protos.tensors import dtype_code
from polserve.training.environments.descriptions import Description, describe
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec, make_env
from polserve.training.environments.spaces import component_bounds, float32_bounds, observation_box
from polserve.training.environments.wrappers import changes_actions, changes_observations, layers
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.evaluation.statistics import ReturnSummary
from polserve.training.tasks.adbudget.context import HISTORY_DAYS
from polserve.training.tasks.adbudget.environment import AllocationEnv


@dataclass(frozen=True, slots=True)
class TrainedPolicy:
    """What is known of a policy after training and evaluation."""

    name: str
    algorithm: str
    environment: EnvironmentSpec
    provenance: pb.Provenance
    evaluation: ReturnSummary
    random_mean: float


def build_spec(trained: TrainedPolicy) -> pb.PolicySpec:
    """The spec, all but its parity, which the export measures."""
    env = make_env(trained.environment)
    try:
        description = describe(trained.environment.id, env)
        return pb.PolicySpec(
            schema_version=SCHEMA_VERSION,
            name=trained.name,
            algorithm=trained.algorithm,
            environment=pb.Environment(
                id=trained.environment.id,
                kwargs_json=trained.environment.kwargs_json,
                module=trained.environment.module,
            ),
            observation=_observation(
                observation_box(env.observation_space, trained.environment.id), trained.environment.frames, description
            ),
            action=_action(env.action_space, description, trained.environment.id),
            allocation=_allocation(env, description),
            provenance=trained.provenance,
            evaluation=_evaluation(trained.evaluation, trained.random_mean),
        )
    finally:
        env.close()


def _observation(box: Box, frames: int, description: Description) -> pb.ObservationSpec:
    low, high = component_bounds(box)
    return pb.ObservationSpec(
        dtype=dtype_code(box.dtype),
        shape=box.shape,
        frames=frames,
        low=low,
        high=high,
        # NOTE: what an environment declares is not always kept by it, by its rounding or by a sensor: no bound is hard
        # by itself, so that what was trained in can be played.
        is_bounded=False,
        components=[pb.Component(name=name, unit=unit) for name, unit in description.components],
    )


def _action(space: gym.Space[Any], description: Description, environment_id: str) -> pb.ActionSpec:
    if isinstance(space, Discrete):
        return pb.ActionSpec(discrete=pb.DiscreteActions(n=int(space.n), labels=description.labels))
    if isinstance(space, Box):
        low, high = float32_bounds(space)
        return pb.ActionSpec(
            continuous=pb.ContinuousActions(
                low=low.ravel().tolist(),
                high=high.ravel().tolist(),
                components=[pb.Component(name=name, unit=unit) for name, unit in description.action_components],
            )
        )
    raise UnsupportedEnvironment(f"{environment_id}: expected actions in Discrete or Box, got {space}")


def _allocation(env: gym.Env[Any, Any], description: Description) -> pb.AllocationSpec | None:
    """The block of an allocator; None for any other policy."""
    account = env.unwrapped
    if not isinstance(account, AllocationEnv):
        return None
    around = pairwise(layers(env))
    if any(changes_observations(layer, inner) or changes_actions(layer, inner) for inner, layer in around):
        return None  # what a request for a budget carries is not what the policy takes
    return pb.AllocationSpec(
        channels=[channel.name for channel in account.scenario.channels],
        currency=account.scenario.currency,
        history_days=HISTORY_DAYS,
        max_horizon_days=account.scenario.horizon_days,
        components=[name for name, _ in description.components],
    )


def _evaluation(summary: ReturnSummary, random_mean: float) -> pb.Evaluation:
    return pb.Evaluation(
        episodes=summary.episodes,
        mean=summary.mean,
        median=summary.median,
        iqm=summary.iqm,
        standard_deviation=summary.standard_deviation,
        interval_low=summary.interval_low,
        interval_high=summary.interval_high,
        confidence=summary.confidence,
        random_mean=random_mean,
        first_seed=EVALUATION_FIRST_SEED,
    )
