"""From an imported policy to a policy version: exported, compared with the original, played, described."""

from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import MIN_GOLDEN
from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.spaces import short
from polserve.training.errors import ImportRefused
from polserve.training.evaluation.evaluation import Evaluation, EvaluationGames, evaluate_beside_random
from polserve.training.evaluation.game_progress import GameProgress
from polserve.training.imports.alone import check_answers_alone
from polserve.training.imports.imported import ImportedPolicy
from polserve.training.imports.places import Place, find_place
from polserve.training.imports.proof import Proof, prove
from polserve.training.imports.remembering import zero_states
from polserve.training.imports.request import ImportRequest
from polserve.training.tasks.catalog import published_scores
from polserve.training.tasks.task import GOLDEN_SIZE
from polserve.training.versions.export import answers, export_graph, seal
from polserve.training.versions.onnx_policy import OnnxPolicy
from polserve.training.versions.specs import TrainedPolicy, build_spec
from polserve.training.versions.version import PolicyVersion


@dataclass(frozen=True, slots=True)
class Proven:
    """An imported policy that acts as the original does, with its returns."""

    name: str
    policy: ImportedPolicy
    place: Place
    graph: onnx.ModelProto
    """The policy without a spec."""
    proof: Proof
    evaluation: Evaluation | None
    """Returns beside those of the random policy; None where its environment is not installed."""


def prove_policy(policy: ImportedPolicy, place: Place, request: ImportRequest, progress: GameProgress) -> Proven:
    """Export the policy, compare it with the original, and evaluate it where its environment is installed.

    Raises:
        ImportRefused: it does not act as the original does, or not in this environment.
        ExportRefused: it cannot be exported.
        FaultyEnvironment: the environment broke Gymnasium's rules.
    """
    place = _stacked(place, policy)
    _check_fits(policy, place)
    graph = policy.graph
    example, states = _example(policy.observation_space), zero_states(policy.states, 2)
    model = export_graph(graph, example, states) if isinstance(graph, nn.Module) else graph
    runnable = OnnxPolicy(model.SerializeToString())
    proof = prove(policy, runnable, place, envs=request.envs)
    check_answers_alone(policy, runnable, proof, _golden(proof))
    if policy.remedy_if_unscaled and _is_unscaled(policy.action_space, proof):
        progress.note(
            f"note: all actions lie between -1 and 1, and their bounds are wider; {policy.remedy_if_unscaled}"
        )
    name = request.policy_name(place, policy.source.file)
    evaluation = None
    if place.facts is not None:
        games = EvaluationGames(place.environment, request.episodes, request.max_steps, envs=request.envs)
        evaluation = evaluate_beside_random(name, runnable.player(), games, progress)
        evaluation = replace(evaluation, published=published_scores(place.environment.id))
    return Proven(name, policy, place, model, proof, evaluation)


def make_version(proven: Proven, provenance: pb.Provenance) -> PolicyVersion:
    """Make the version: the graph with its spec, and golden observations of those on which it was compared.

    Raises:
        ExportRefused: the graph answers otherwise at another batch size.
    """
    policy, place, evaluation = proven.policy, proven.place, proven.evaluation
    chosen = _golden(proven.proof)
    observations = proven.proof.observations[chosen]
    states = {name: array[chosen] for name, array in proven.proof.states.items()}
    graph = policy.graph
    given = answers(graph, observations, states) if isinstance(graph, nn.Module) else _run(proven, observations)
    spec = build_spec(
        TrainedPolicy(
            name=proven.name,
            algorithm=policy.algorithm,
            environment=place.environment,
            facts=place.facts or _facts(policy),
            provenance=provenance,
            evaluation=evaluation.summary if evaluation else None,
            random_mean=evaluation.random_summary.mean if evaluation else 0.0,
        )
    )
    spec.parity.compared_with = policy.original_name
    spec.parity.compared_observations = len(proven.proof.observations)
    spec.parity.largest_relative_difference = proven.proof.largest_difference
    spec.parity.ties = int(proven.proof.is_tie.sum())
    return seal(proven.graph, spec, {"observation": observations, **states, **given})


def _is_unscaled(space: gym.Space[Any], proof: Proof) -> bool:
    """Whether the policy never left [-1, 1] although all of its actions may."""
    if not isinstance(space, Box) or not np.isfinite([space.low, space.high]).all():
        return False
    return proof.largest_action <= 1 and bool(((space.low < -1) & (space.high > 1)).all())


def _run(proven: Proven, observations: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return OnnxPolicy(proven.graph.SerializeToString()).run(observations)


def _golden(proof: Proof) -> NDArray[np.int64]:
    """Places of the golden observations: a spread of those compared, without ties, at which batch sizes may decide."""
    decided = np.flatnonzero(~proof.is_tie)
    if len(decided) < MIN_GOLDEN:
        raise ImportRefused(
            f"{len(proof.observations) - len(decided)} of {len(proof.observations)} observations leave the policy "
            f"undecided between two actions; expected at least {MIN_GOLDEN} on which it chooses one"
        )
    chosen = np.linspace(0, len(decided) - 1, min(GOLDEN_SIZE, len(decided))).astype(np.int64)
    return decided[chosen]


def _example(space: Any) -> NDArray[Any]:
    return np.zeros((2, *space.shape), space.dtype)


def _facts(policy: ImportedPolicy) -> EnvironmentFacts:
    """Facts that are known without an environment: the spaces in the file."""
    box = policy.observation_space
    if not isinstance(box, Box):
        raise ImportRefused(f"{policy.source.file}: expected observations in a Box, got {short(box)}")
    return EnvironmentFacts(box, policy.action_space, policy.description, (), (), pb.PolicySpec(), policy.emitted_space)


def _stacked(place: Place, policy: ImportedPolicy) -> Place:
    """Place whose environment stacks as many frames as the policy sees."""
    if place.environment.frames == policy.frames:
        return place
    environment = replace(place.environment, frames=policy.frames)
    return replace(place, environment=environment) if place.facts is None else find_place(environment)


def _check_fits(policy: ImportedPolicy, place: Place) -> None:
    """Raise ImportRefused where the environment has other observations or actions than the policy takes."""
    if place.facts is None:
        return
    observed, acted = place.facts.observation_space, place.facts.action_space
    mine = policy.observation_space
    is_same = (observed.shape, observed.dtype) == (mine.shape, mine.dtype)
    if not is_same or not _takes(acted, policy.action_space):
        raise ImportRefused(
            f"{policy.source.file}: the policy takes {short(mine)} and acts in {short(policy.action_space)}; "
            f"{place.environment.id} has {short(observed)} and {short(acted)}; name the environment that it was "
            "trained in, with its wrappers (--env, --module, --env-kwargs)"
        )


def _takes(theirs: Any, ours: Any) -> bool:
    """Whether an environment's action space takes what the policy answers."""
    if isinstance(ours, Box):
        return isinstance(theirs, Box) and theirs.shape == ours.shape
    return bool(theirs == ours)
