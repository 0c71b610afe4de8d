"""From trained weights to a policy version: played on held-out seeds, described, exported."""

from collections.abc import Callable
from dataclasses import dataclass

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import MIN_GOLDEN
from polserve.training.evaluation.episodes import ObservationSample, cut_off, greedy, play_episodes, random_actions
from polserve.training.evaluation.evaluation import Evaluation, random_policy_seed
from polserve.training.evaluation.statistics import summarise
from polserve.training.learning.interrupts import interruptible
from polserve.training.learning.progress import TrainingResult
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.stages import counted_from
from polserve.training.runs.trainee import Trainee
from polserve.training.tasks.catalog import published_scores
from polserve.training.tasks.task import Narrator
from polserve.training.versions.export import export_policy
from polserve.training.versions.specs import TrainedPolicy, build_spec
from polserve.training.versions.version import PolicyVersion


@dataclass(frozen=True, slots=True)
class Trained:
    """A trainee at the end of its training, and what is known of it."""

    recipe: Recipe
    trainee: Trainee
    result: TrainingResult
    provenance: pb.Provenance
    """Where the weights that it began with came from, and this run."""


def make_version(
    trained: Trained, narrator: Narrator, should_stop: Callable[[], bool] = lambda: False
) -> tuple[Evaluation, PolicyVersion]:
    """Evaluate the best weights beside the random policy, and export them.

    Raises:
        Interrupted: `should_stop` said so in the evaluation.
        ExportRefused: the graph does not answer as the network does.
    """
    recipe, trainee, result = trained.recipe, trained.trainee, trained.result
    trainee.agent.load_weights(result.weights)
    policy = trainee.agent.policy()
    trainee.loop.suspend()
    acting = interruptible(greedy(policy), should_stop)
    sample = ObservationSample(acting, trainee.setup.golden_size, trainee.streams.generator("golden observations"))
    evaluation = _evaluate(trained, sample, narrator, should_stop)
    if missing := max(0, MIN_GOLDEN - len(sample.observations())):  # where few episodes are short
        first_seed = evaluation.first_seed + recipe.loop.evaluation_episodes
        loop = recipe.loop
        most_steps, most_envs = loop.max_evaluation_steps, loop.most_evaluation_envs
        play_episodes(sample, trainee.environment, missing, first_seed, most_steps, most_envs=most_envs)
    spec = build_spec(
        TrainedPolicy(
            name=recipe.policy,
            algorithm=trainee.agent.algorithm,
            environment=trainee.environment,
            facts=trainee.facts,
            provenance=_with_length(trained.provenance, result),
            evaluation=evaluation.summary,
            random_mean=evaluation.random_summary.mean,
            first_seed=evaluation.first_seed,
        )
    )
    with narrator.stage("exporting, and checking the graph"):
        return evaluation, export_policy(policy, spec, sample.observations())


def _evaluate(
    trained: Trained, choose_actions: ObservationSample, narrator: Narrator, should_stop: Callable[[], bool]
) -> Evaluation:
    """Play whole episodes of the policy and of the random one on the evaluation seeds."""
    recipe, environment, loop = trained.recipe, trained.trainee.environment, trained.recipe.loop
    episodes, max_steps = loop.evaluation_episodes, loop.max_evaluation_steps
    first_seed = trained.trainee.streams.first_evaluation_seed
    by_chance = random_actions(trained.trainee.facts.action_space, random_policy_seed(first_seed))
    with narrator.stage(f"playing {2 * episodes:,} evaluation episodes", 2 * episodes) as stage:
        played, at_random = (
            play_episodes(
                player,
                environment,
                episodes,
                first_seed,
                max_steps,
                most_envs=loop.most_evaluation_envs,
                report=counted_from(stage, before),
            )
            for player, before in ((choose_actions, 0), (interruptible(by_chance, should_stop), episodes))
        )
    returns = [episode.episode_return for episode in played]
    random_returns = [episode.episode_return for episode in at_random]
    return Evaluation(
        policy=recipe.policy,
        environment=environment.id,
        returns=returns,
        random_returns=random_returns,
        summary=summarise(returns),
        random_summary=summarise(random_returns),
        cut_off=cut_off(played, max_steps, "--set max_evaluation_steps=N lets them go on"),
        published=published_scores(environment.id),
        first_seed=first_seed,
    )


def _with_length(provenance: pb.Provenance, result: TrainingResult) -> pb.Provenance:
    whole = pb.Provenance()
    whole.CopyFrom(provenance)
    whole.environment_steps += result.step
    whole.selection_steps += result.selection_steps
    whole.training_hours += result.elapsed_s / 3600
    return whole
