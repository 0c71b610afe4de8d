"""DDPG and TD3's parts: the targets, the bounds, the export; and that they learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from polserve.training.environments.spaces import continuous_actions
from polserve.training.errors import InvalidOption, UnsupportedEnvironment
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig
from polserve.training.learning.agents.actor_critic import ActorDesign, DeterministicPolicy, Features
from polserve.training.learning.agents.ddpg import DdpgAgent
from polserve.training.learning.compute import choose
from polserve.training.learning.hyperparameters import NetworkConfig
from polserve.training.learning.transitions import Transitions
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import with_options
from polserve.training.runs.trainee import build_trainee
from polserve.training.tasks.adbudget.accounts import CHANNELS
from polserve.training.tasks.adbudget.history.history import Truth, simulate_history, write_history
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.commands import polserve_here
from tests.support.promoting import command
from tests.support.stores import new_store

SPACE = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))
DESIGN = ActorDesign(NetworkConfig(hidden_sizes=(16,), layer_norm=True), SPACE, Features(3))


WIDE = ActorDesign(NetworkConfig(hidden_sizes=(64, 64)), SPACE, Features(3))


def agent(seed: int = 0, design: ActorDesign = DESIGN, **changes: object) -> DdpgAgent:
    torch.manual_seed(seed)
    return DdpgAgent(DdpgConfig(**{"batch_size": 8, **changes}), design, choose("cpu"))  # type: ignore[arg-type]


def transitions(n: int, rng: np.random.Generator, discount: float = 0.0) -> Transitions:
    """Rewards are best at the action (1, 5)."""
    actions = rng.uniform(SPACE.low, SPACE.high, (n, 2)).astype(np.float32)
    reward = -np.square((actions - [1.0, 5.0]) / [2.0, 5.0]).sum(axis=1).astype(np.float32)
    observation = rng.normal(size=(2, n, 3)).astype(np.float32)
    return Transitions(observation[0], actions, reward, np.full(n, discount, np.float32), observation[1])


@pytest.mark.parametrize("is_td3", [False, True])
def test_the_actor_finds_the_best_action(is_td3: bool) -> None:  # noqa: FBT001 - a parameter
    noise = 0.2 if is_td3 else 0.0
    learner = agent(
        design=WIDE,
        batch_size=64,
        actor_learning_rate=3e-3,
        critic_learning_rate=3e-3,
        target_tau=0.02,
        twin_critics=is_td3,
        policy_delay=2 if is_td3 else 1,
        target_noise=noise,
    )
    rng = np.random.default_rng(0)
    for _ in range(40):
        learner.learn(transitions(64 * 10, rng))
    actions = learner.greedy(rng.normal(size=(20, 3)).astype(np.float32))
    assert actions.mean(axis=0) / [2.0, 5.0] == pytest.approx([0.5, 1.0], abs=0.15)
    assert learner.algorithm == ("td3" if is_td3 else "ddpg")


def test_every_action_is_within_its_bounds() -> None:
    rng = np.random.default_rng(0)
    observations = rng.normal(0, 1e6, (50, 3)).astype(np.float32)
    for learner in (agent(noise_start=5.0), agent(random_steps=10)):
        actions = learner.explore(observations, 0, rng)
        assert actions.dtype == np.float32
        assert SPACE.contains(actions[0])
        assert (actions >= SPACE.low).all()
        assert (actions <= SPACE.high).all()


ROUNDED = [
    Box(-3.0, 0.2, (1,), np.float32),
    Box(0.1, 0.7, (1,), np.float32),
    Box(-0.3, 0.1, (1,), np.float64),
    Box(-np.finfo(np.float32).max, np.finfo(np.float32).max, (1,), np.float32),
]


@pytest.mark.parametrize("space", ROUNDED, ids=repr)
def test_no_rounding_takes_an_action_beyond_its_bounds(space: Box) -> None:
    learner = agent(design=ActorDesign(NetworkConfig(hidden_sizes=(8,)), space, Features(3)), noise_start=9.0)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        learner._actor.layers[-1].weight.mul_(1e4)  # type: ignore[operator]  # noqa: SLF001 - so that tanh gives 1
    observations = rng.normal(0, 10, (500, 3)).astype(np.float32)
    graph = learner.policy()(torch.from_numpy(observations)).detach().numpy()
    for actions in (graph, learner.greedy(observations), learner.explore(observations, 0, rng)):
        assert actions.dtype == np.float32
        assert (actions.astype(np.float64) >= space.low).all()
        assert (actions.astype(np.float64) <= space.high).all()
        assert len(np.unique(actions)) > 1


def test_a_new_actor_acts_near_the_middle() -> None:
    observations = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert agent().greedy(observations) == pytest.approx(np.tile([0.0, 5.0], (50, 1)), abs=0.2)


def test_noise_falls_with_the_steps() -> None:
    learner = agent(noise_start=0.4, noise_end=0.1, noise_steps=100)
    assert [learner.exploration(step)["charts/noise"] for step in (0, 50, 1000)] == pytest.approx([0.4, 0.25, 0.1])


def test_twin_critics_give_two_values() -> None:
    learner = agent(twin_critics=True)
    value = learner._critics.online(torch.zeros(4, 3), torch.zeros(4, 2))  # noqa: SLF001
    assert value.shape == (4, 2)
    assert agent()._critics.online(torch.zeros(4, 3), torch.zeros(4, 2)).shape == (4, 1)  # noqa: SLF001


def test_the_delay_holds_the_actor_back() -> None:
    learner = agent(policy_delay=3)
    before = learner.weights()
    learner.learn(transitions(16, np.random.default_rng(0)))
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.weights().items())
    learner.learn(transitions(8, np.random.default_rng(1)))
    assert any(not torch.equal(before[name], tensor) for name, tensor in learner.weights().items())


def test_equal_seeds_learn_equal_weights_and_a_state_goes_on_as_before() -> None:
    first, second = agent(target_noise=0.2), agent(target_noise=0.2)
    for learner in (first, second):
        learner.learn(transitions(32, np.random.default_rng(0), discount=0.9))
    assert all(torch.equal(a, b) for a, b in zip(first.weights().values(), second.weights().values(), strict=True))
    third = agent(seed=9, target_noise=0.2)
    third.load_state(first.state())
    for learner in (second, third):
        learner.learn(transitions(32, np.random.default_rng(2), discount=0.9))
    assert all(torch.equal(a, b) for a, b in zip(second.weights().values(), third.weights().values(), strict=True))


def test_acting_by_the_target_exports_the_average() -> None:
    learner = agent(acts_by_target=True, target_tau=0.5)
    learner.learn(transitions(8, np.random.default_rng(0)))
    observation = np.ones((1, 3), np.float32)
    exported = learner.policy()
    assert isinstance(exported, DeterministicPolicy)
    assert exported(torch.from_numpy(observation)).detach().numpy() == pytest.approx(learner.greedy(observation))
    acting = learner.explore(observation, 0, np.random.default_rng(0))
    assert not np.array_equal(acting, learner.greedy(observation))


@pytest.mark.parametrize(
    ("name", "value"), [("policy_delay", 0), ("noise_end", -0.1), ("target_tau", 0.0), ("discount", 1.5)]
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidOption, match=f"{name}: expected"):
        DdpgConfig(**{name: value})  # type: ignore[arg-type]


UNFIT = [
    Discrete(3),
    Box(-np.inf, np.inf, (2,)),
    Box(-1, 1, (2, 2)),
    Box(0, 5, (2,), np.int64),
    Box(np.zeros(2, np.float32), np.array([0.0, 1.0], np.float32)),
]


def test_bounds_of_float64_are_learned_within_too() -> None:
    design = ActorDesign(NetworkConfig(hidden_sizes=(8,)), Box(-2.0, 2.0, (2,), np.float64), Features(3))
    learner = agent(design=design)
    learner.learn(transitions(16, np.random.default_rng(0)))
    assert learner.greedy(np.zeros((1, 3), np.float32)).dtype == np.float32


@pytest.mark.parametrize("space", UNFIT)
def test_actions_that_ddpg_cannot_choose_are_refused(space: Box) -> None:
    with pytest.raises(UnsupportedEnvironment, match="DDPG, TD3 and SAC need actions in a Box"):
        continuous_actions(space, "Some-v0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which are the runs and versions of `polserve train`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path))
    return tmp_path


def trained(*arguments: str) -> str:
    """What `polserve train` prints."""
    answer = command("train", *arguments)
    assert answer.exit_code == 0, answer.error
    return answer.text


@pytest.mark.acceptance
@pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use
def test_a_continuous_policy_is_trained_and_registered_by_its_preset(folder: Path) -> None:
    few = ("--set", "selection_episodes=2", "--set", "evaluation_episodes=4")
    assert "registered pendulum/1" in trained("pendulum", "--steps", "1100", *few)
    (model,) = folder.glob("mlruns/**/model.onnx")
    continuous = OnnxPolicy(model).spec.action.continuous
    assert (list(continuous.low), list(continuous.high)) == ([-2.0], [2.0])
    assert (continuous.components[0].name, continuous.components[0].unit) == ("torque", "N m")
    recipe = with_options(PRESETS["pendulum"], ["selection_episodes=2"])
    trainee = build_trainee(recipe, 0)
    assert trainee.begin_from(model.parent).description.startswith("pendulum/")
    observations = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    assert trainee.agent.greedy(observations) == pytest.approx(OnnxPolicy(model).act(observations), abs=1e-5)


@pytest.mark.acceptance
@pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use
def test_an_allocator_is_trained_for_the_account_of_a_history(folder: Path) -> None:
    truth = Truth(channels=(CHANNELS["display"], CHANNELS["tiktok"]), base_sales=800.0)
    write_history(folder / "history.csv", simulate_history(truth, 200, np.random.default_rng(0)))
    lines = (folder / "history.csv").read_text().splitlines()
    (folder / "history.csv").write_text(
        "\n".join([f"{lines[0]},currency,cost", *(f"{line},EUR,1" for line in lines[1:])])
    )
    sizes = {"learning_starts": 640, "evaluate_every": 1000, "selection_episodes": 4, "evaluation_episodes": 8}
    few = [word for name, value in sizes.items() for word in ("--set", f"{name}={value}")]
    said = trained("adbudget", "--data", "history.csv", "--name", "shop", "--steps", "1000", *few)
    assert "channels of history.csv: display, tiktok; left alone: cost" in said
    assert "fitted 200 days of history.csv: R squared 0." in said
    assert "display: 90 % interval " in said
    assert "solved anew every day" in said
    (page,) = folder.glob("mlruns/**/allocation.html")
    text = page.read_text()
    assert text == (folder / "runs/shop-seed0/report/allocation.html").read_text()
    assert "report: runs/shop-seed0/report\n" in said
    store = f"sqlite:///{folder / 'mlflow.db'}"
    assert f"MLflow run: {page.parent}; `mlflow ui --backend-store-uri {store}` shows the run" in said
    (model,) = folder.glob("mlruns/**/model.onnx")
    block = OnnxPolicy(model).spec.allocation
    assert (list(block.channels), block.history_days, block.max_horizon_days) == (["display", "tiktok"], 28, 30)
    assert block.currency == "EUR"


def test_another_currency_than_the_historys_is_refused(tmp_path: Path) -> None:
    history = simulate_history(Truth(channels=(CHANNELS["display"],), base_sales=800.0), 60, np.random.default_rng(0))
    path = tmp_path / "history.csv"
    write_history(path, history)
    path.write_text(path.read_text().replace("display_spend", "display_spend (EUR)"))
    answer = polserve_here("train", "adbudget", "--data", str(path), "--env-kwargs", '{"currency": "USD"}')
    assert answer.returncode == 2
    assert "--env-kwargs: currency: expected EUR, got USD" in answer.stderr


def test_what_the_history_tells_is_not_told_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.touch()
    answer = polserve_here("train", "adbudget", "--data", str(path), "--env-kwargs", '{"n_channels": 3}')
    assert answer.returncode == 2
    assert "the history tells the rest; got n_channels" in " ".join(answer.stderr.replace("│", "").split())


def test_a_history_is_for_allocators_only(tmp_path: Path) -> None:
    (tmp_path / "history.csv").touch()
    answer = polserve_here("train", "cartpole", "--data", str(tmp_path / "history.csv"))
    assert answer.returncode == 2
    assert "for adbudget" in answer.stderr
