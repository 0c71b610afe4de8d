"""The PolicySpec of a trained policy: everything that serving and clients need to know of it."""

from dataclasses import dataclass

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import SCHEMA_VERSION
from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.environments.space_messages import described_actions, described_observations
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
    evaluation: ReturnSummary | None
    """Returns in the evaluation; None for a policy that was not evaluated."""
    random_mean: float = 0.0
    """Mean return of the random policy in the evaluation."""
    first_seed: int = EVALUATION_FIRST_SEED
    """Seed of the first episode of the evaluation."""


def build_spec(trained: TrainedPolicy) -> pb.PolicySpec:
    """Spec of a trained policy, all but its parity, which the export measures."""
    environment, facts = trained.environment, trained.facts
    spec = pb.PolicySpec(
        schema_version=SCHEMA_VERSION,
        name=trained.name,
        algorithm=trained.algorithm,
        observation=described_observations(
            facts.observation_space,
            environment.frames,
            facts.description,
            environment.id or trained.name,
            facts.emitted_space,
        ),
        action=described_actions(facts.action_space, facts.description, environment.id or trained.name),
        provenance=trained.provenance,
    )
    if environment.id:
        spec.environment.MergeFrom(_environment(environment, facts))
    if trained.evaluation is not None:
        spec.evaluation.MergeFrom(_evaluation(trained.evaluation, trained.random_mean, trained.first_seed))
    spec.MergeFrom(facts.spec_part)
    return spec


def _environment(environment: EnvironmentSpec, facts: EnvironmentFacts) -> pb.Environment:
    return pb.Environment(
        id=environment.id,
        kwargs_json=environment.kwargs_json,
        module=environment.module,
        graph_wrappers=facts.graph_wrappers,
        client_wrappers=facts.client_wrappers,
        client_action_wrappers=facts.client_action_wrappers,
    )


def _evaluation(summary: ReturnSummary, random_mean: float, first_seed: int) -> pb.Evaluation:
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
        first_seed=first_seed,
    )
