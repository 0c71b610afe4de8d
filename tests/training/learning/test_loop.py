import itertools
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import MIN_GOLDEN
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import CheckpointError, InvalidOption, TrainingDiverged
from polserve.training.evaluation.episodes import cut_off, play_episodes, random_policy
from polserve.training.learning.hyperparameters import (
    DqnConfig,
    ExplorationConfig,
    LoopConfig,
    NetworkConfig,
    ReplayConfig,
)
from polserve.training.learning.loop import Loop
from polserve.training.learning.progress import Progress, TrainingResult
from polserve.training.learning.scores import Score
from polserve.training.learning.streams import Streams
from polserve.training.runs import checkpoint
from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.initial_weights import InitialWeights
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.progress import Standing
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.stages import Stages
from polserve.training.runs.trainee import Trainee, build_trainee
from tests.support.exports import export_cartpole
from tests.support.strangers import Line, registered

RECIPE = Recipe(
    policy="small",
    environment=EnvironmentSpec("CartPole-v1"),
    loop=LoopConfig(steps=480, n_envs=4, evaluate_every=160, selection_episodes=3, log_every=80),
    replay=ReplayConfig(learning_starts=100),
    network=NetworkConfig(hidden_sizes=(16,)),
    agent=DqnConfig(batch_size=16, n_step=2),
    exploration=ExplorationConfig(epsilon_steps=160),
)


def train(recipe: Recipe = RECIPE, seed: int = 0) -> TrainingResult:
    return build_trainee(recipe, seed).train()


@pytest.fixture(scope="module")
def whole() -> TrainingResult:
    """What a run of seed 0 leaves that nobody interrupts."""
    return train()


def kept(trainee: Trainee) -> dict[str, Any]:
    """What a checkpoint holds of a run."""
    return {**trainee.state(), "run_id": "abc", "initial_weights": asdict(InitialWeights("", 500, hours=1.0))}


def test_a_run_is_a_pure_function_of_its_seed(whole: TrainingResult) -> None:
    first, second, other = whole, train(seed=0), train(seed=1)
    assert first.curve == second.curve
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name])
    assert any(not torch.equal(tensor, other.weights[name]) for name, tensor in first.weights.items())


def test_the_best_evaluated_weights_are_kept_not_the_last(whole: TrainingResult) -> None:
    assert whole.best_score == max(mean for _, mean in whole.curve)
    assert whole.is_complete
    assert whole.step >= RECIPE.loop.steps


def test_training_stops_at_the_return_asked_for() -> None:
    result = train(replace(RECIPE, loop=replace(RECIPE.loop, stop_return=1.0)))
    assert len(result.curve) == 1


def test_progress_and_metrics_are_reported_by_path() -> None:
    told: list[Progress] = []
    trainee = build_trainee(RECIPE, 0)
    result = trainee.train(told.append)
    last = told[-1]
    assert (last.step, last.steps, last.is_over) == (result.step, RECIPE.loop.steps, True)
    assert last.episodes > 0
    standing = Standing(last, trainee.loop.figures(), trainee.elapsed_s)
    assert standing.figures.recent_return is not None
    expected = {"losses/td", "losses/q_mean", "charts/epsilon", "charts/sps", "charts/episodic_return"}
    assert expected <= standing.metrics().keys()
    assert [progress.step // RECIPE.loop.log_every for progress in told if progress.is_report_due] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]  # the last step is reported once


def test_a_loop_that_is_left_off_goes_on_where_it_was(whole: TrainingResult) -> None:
    trainee = build_trainee(RECIPE, 0)
    for progress in trainee.loop.run():
        if progress.step >= 230:
            break
    result = trainee.train()
    assert (result.step, result.curve) == (whole.step, whole.curve)
    for name, tensor in result.weights.items():
        assert torch.equal(tensor, whole.weights[name])


def test_training_leaves_torchs_own_generator_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(replace(RECIPE, loop=replace(RECIPE.loop, steps=300)))
    assert torch.equal(torch.rand(3), expected)


def test_a_closed_trainee_leaves_torch_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        trainee = build_trainee(RECIPE, 0)
        assert torch.get_num_threads() == 1
        trainee.close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    calls = iter(range(10_000))
    begun = build_trainee(RECIPE, 0)
    partial = begun.train(should_stop=lambda: next(calls) >= 60)
    assert not partial.is_complete
    checkpoint.save(tmp_path, begun.state())

    resumed = build_trainee(RECIPE, 0)
    resumed.load_state(checkpoint.load(tmp_path))
    result = resumed.train()

    assert result.is_complete
    assert result.episodes >= partial.episodes
    assert result.curve[: len(partial.curve)] == partial.curve
    assert result.elapsed_s > partial.elapsed_s


def test_an_evaluation_ends_when_asked_and_is_made_up_for(tmp_path: Path) -> None:
    short = replace(RECIPE, loop=replace(RECIPE.loop, steps=8, n_envs=1, selection_episodes=2))
    for calls, is_evaluated in ((8, False), (9, False), (10**9, True)):
        asked = itertools.count()
        trainee = build_trainee(short, 0)
        result = trainee.train(should_stop=lambda: next(asked) >= calls)  # noqa: B023 - called at once
        assert result.is_complete == is_evaluated
        assert math.isnan(result.best_score) != is_evaluated
        if not is_evaluated:
            assert result.step <= 8
            checkpoint.save(tmp_path, trainee.state())
            resumed = build_trainee(short, 0)
            resumed.load_state(checkpoint.load(tmp_path))
            assert resumed.train().curve[-1][0] == 8


def test_an_episode_without_end_is_cut_off_in_an_evaluation() -> None:
    with registered(Line, max_episode_steps=None) as spec:
        played = play_episodes(random_policy(spec, 0), spec, 3, 0, max_steps=50)
        loop = LoopConfig(steps=4, n_envs=1, selection_episodes=1, max_evaluation_steps=50)
        assert build_trainee(Recipe("line", spec, loop), 0).train().is_complete
    assert [(episode.length, episode.is_cut_off) for episode in played] == [(50, True)] * 3
    assert cut_off(played, 50, "go on").startswith("3 of 3 episodes were cut off after 50 steps")
    with registered(Line, max_episode_steps=50) as spec:
        assert not cut_off(play_episodes(random_policy(spec, 0), spec, 3, 0, max_steps=50), 50, "go on")


@pytest.mark.filterwarnings("ignore")  # MLflow warns at its import
def test_few_short_episodes_leave_enough_golden_observations() -> None:
    from polserve.training.runs.evaluating import Trained, make_version

    with registered(Line, max_episode_steps=5) as spec:
        loop = LoopConfig(steps=4, n_envs=1, selection_episodes=1, evaluation_episodes=2)
        recipe = Recipe("line", spec, loop)
        trainee = build_trainee(recipe, 0)
        trained = Trained(recipe, trainee, trainee.train(), pb.Provenance())
        evaluation, version = make_version(trained, Stages(Console(quiet=True)))
    assert len(version.golden["observation"]) >= MIN_GOLDEN
    assert evaluation.summary.episodes == 2


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    trainee = build_trainee(RECIPE, 0)
    trainee.train()
    checkpoint.save(tmp_path, trainee.state())
    other = replace(RECIPE, network=NetworkConfig(hidden_sizes=(32,)))
    with pytest.raises(CheckpointError, match="does not fit this run's network: perhaps the environment's"):
        build_trainee(other, 0).load_state(checkpoint.load(tmp_path))


def test_training_that_never_scores_a_number_ends_with_what_to_do() -> None:
    parts = replace(build_trainee(RECIPE, 0).loop._parts, score=lambda _choose, _best: Score(math.nan, 1))  # noqa: SLF001
    loop = Loop(parts, RECIPE.rewards, replace(RECIPE.loop, steps=200), Streams(0))
    assert not any(progress.is_over for progress in list(loop.run())[:-1])
    with pytest.raises(TrainingDiverged, match="no greedy evaluation gave a number"):
        loop.result()


def test_a_checkpoint_of_the_format_before_is_read(tmp_path: Path) -> None:
    trainee = build_trainee(RECIPE, 0)
    result = trainee.train()
    now = kept(trainee)
    loop = {**now["loop"], "elapsed_s": 12.0, "best_return": now["loop"]["best_score"]}
    del loop["best_score"]
    origin = {"initial_weights": "weights", "environment_steps": 500, "hours": 1.0}
    path = checkpoint.save(tmp_path, {"loop": loop, "run_id": "abc", "origin": origin})
    torch.save({**torch.load(path, weights_only=True), "format": 2}, path)

    resumed = build_trainee(RECIPE, 0)
    resumed.load_state(checkpoint.load(tmp_path))
    again = resumed.train()
    assert (again.best_score, again.curve) == (result.best_score, result.curve)
    assert again.elapsed_s > 12.0
    assert InitialWeights(**checkpoint.load(tmp_path)["initial_weights"]) == InitialWeights("weights", 500, hours=1.0)


def test_a_replay_larger_than_the_memory_is_refused_before_training_with_its_bytes() -> None:
    with pytest.raises(InvalidOption, match=r"replay_capacity: expected .* bytes .*, which need [\d,]{18,} bytes"):
        build_trainee(with_options(RECIPE, ["replay_capacity=1_000_000_000_000"]), 0)


def test_a_run_begins_with_the_weights_of_another_runs_checkpoint(tmp_path: Path) -> None:
    earlier = build_trainee(RECIPE, 0)
    result = earlier.train()
    checkpoint.save(tmp_path, kept(earlier))
    later = build_trainee(RECIPE, 1)
    initial = later.begin_from(tmp_path)
    assert initial.environment_steps == 500 + result.step
    assert initial.description == f"MLflow run abc at step {result.step:,}"
    for name, tensor in later.agent.weights().items():
        assert torch.equal(tensor, result.weights[name])
    assert later.loop.state()["curve"][0][0] == 0, "what it began with was evaluated, and is to be beaten"


def test_a_run_begins_with_the_weights_of_a_policy_version(tmp_path: Path) -> None:
    version = export_cartpole(hidden=(16,))
    version.write(tmp_path)
    trainee = build_trainee(RECIPE, 0)
    trainee.begin_from(tmp_path)
    assert (trainee.agent.greedy(version.golden["observation"]) == version.golden["action"]).all()
    with pytest.raises(
        CheckpointError, match=r"its network is another one \(torso.* is \(16, 4\) there and \(8, 4\) here\)"
    ):
        build_trainee(replace(RECIPE, network=NetworkConfig(hidden_sizes=(8,))), 0).begin_from(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a folder with checkpoint.pt \(a run's\) or model.onnx"):
        build_trainee(RECIPE, 0).begin_from(tmp_path)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_spec_can_hold_is_refused(seed: int) -> None:
    with pytest.raises(InvalidOption, match="seed: expected 0 to"):
        build_trainee(RECIPE, seed)


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("learning_rate=0.5", "learning_rate", 0.5),
        ("hidden_sizes=32,16", "hidden_sizes", (32, 16)),
        ("double=false", "double", False),
        ("loss=squared", "loss", "squared"),
        ("batch_size=1_024", "batch_size", 1024),
        ("reward_treatment=clip", "reward_treatment", "clip"),
        ("max_grad_norm=none", "max_grad_norm", None),
    ],
)
def test_a_hyper_parameter_is_set_by_name(option: str, field: str, value: object) -> None:
    assert with_options(PRESETS["cartpole"], [option]).params()[field] == value


@pytest.mark.parametrize(
    "option",
    [
        *("learning_rate", "speed=3", "batch_size=many", "loss=cubic", "double=perhaps"),
        *("checkpoint_every_s=-1", "updates_per_vector_step=0"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option: str) -> None:
    with pytest.raises(InvalidOption, match="expected"):
        with_options(PRESETS["cartpole"], [option])


@pytest.mark.parametrize(
    ("algorithm", "option"),
    [("td3", "quantiles=5"), ("sac", "pixels=guide"), ("ddpg", "epsilon_end=0"), ("pqn", "quantiles=1")],
)
def test_an_option_that_the_algorithm_does_not_use_is_refused(algorithm: Algorithm, option: str) -> None:
    recipe = recipe_for(algorithm, EnvironmentSpec("Mine-v0"), "mine")
    name, _, _ = option.partition("=")
    with pytest.raises(InvalidOption, match=f"expected a hyper-parameter of this algorithm, got '{name}'"):
        with_options(recipe, [option])
    assert name not in recipe.params()


def test_learning_cannot_start_before_there_is_a_transition() -> None:
    with pytest.raises(InvalidOption, match="learning_starts: expected at least 48, got 10"):
        with_options(PRESETS["cartpole"], ["learning_starts=10", "n_step=2"])
