"""The PolicySpec of a trained policy: everything that serving and clients need to know of it."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box, Discrete

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import SCHEMA_VERSION
from polserve.protos.tensors import dtype_code
from polserve.training.environments.descriptions import Description
from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.environments.spaces import component_bounds, float32_bounds
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.evaluation.statistics import ReturnSummary


@dataclass(frozen=True, slots=True)
class TrainedPolicy:
    """What is known of a policy after training and evaluation."""

    name: str
    algorithm: str
    environment: EnvironmentSpec
    facts: EnvironmentFacts
    """What the environment showed."""
    provenance: pb.Provenance
    evaluation: ReturnSummary
    random_mean: float
    """Mean return of the random policy in the evaluation."""


def build_spec(trained: TrainedPolicy) -> pb.PolicySpec:
    """Spec of a trained policy, all but its parity, which the export measures."""
    environment, facts = trained.environment, trained.facts
    spec = pb.PolicySpec(
        schema_version=SCHEMA_VERSION,
        name=trained.name,
        algorithm=trained.algorithm,
        environment=pb.Environment(id=environment.id, kwargs_json=environment.kwargs_json, module=environment.module),
        observation=_observation(facts.observation_space, environment.frames, facts.description),
        action=_action(facts.action_space, facts.description, environment.id),
        provenance=trained.provenance,
        evaluation=_evaluation(trained.evaluation, trained.random_mean),
    )
    spec.MergeFrom(facts.spec_part)
    return spec


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
