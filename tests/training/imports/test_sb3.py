"""A policy of stable-baselines3 acts as the library's own `predict` does, whatever its algorithm and network."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize, VecTransposeImage
from torch import nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.descriptions import Description
from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.layouts import flat_box, unflattened
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import ImportRefused
from polserve.training.imports.observations import drawn
from polserve.training.imports.places import Place
from polserve.training.imports.sb3.arranging import arrange
from polserve.training.imports.sb3.importer import Sb3Options, read_sb3
from polserve.training.versions.export import answers
from tests.support.sb3_files import FIXTURE, IMAGE, PARTS, Saved, Still

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of spaces that it takes

FOUR = Discrete(4)
SMALL = {"net_arch": [16, 8]}
CASES = {
    "dqn": Saved("DQN", actions=FOUR),
    "dqn, one layer": Saved("DQN", actions=FOUR, policy_kwargs={"net_arch": []}),
    "dqn, ELU": Saved("DQN", actions=FOUR, policy_kwargs={"activation_fn": nn.ELU, **SMALL}),
    "dqn, image": Saved("DQN", "CnnPolicy", IMAGE, FOUR, {"net_arch": [8]}),
    "dqn, image laid out": Saved("DQN", "MlpPolicy", IMAGE, FOUR, SMALL),
    "ddpg": Saved("DDPG", policy_kwargs=SMALL),
    "td3": Saved("TD3", policy_kwargs={"net_arch": {"pi": [12], "qf": [7, 7]}}),
    "sac": Saved("SAC", policy_kwargs=SMALL),
    "sac, gSDE": Saved("SAC", policy_kwargs=SMALL, more={"use_sde": True}),
    "sac, image": Saved("SAC", "CnnPolicy", IMAGE, policy_kwargs=SMALL),
    "ppo": Saved("PPO"),
    "ppo, discrete": Saved("PPO", actions=FOUR, policy_kwargs={"activation_fn": nn.ReLU, "net_arch": [24]}),
    "ppo, two networks": Saved("PPO", policy_kwargs={"net_arch": {"pi": [9, 9, 9], "vf": [5]}}),
    "ppo, gSDE squashed": Saved("PPO", policy_kwargs={"squash_output": True}, more={"use_sde": True}),
    "ppo, several choices": Saved("PPO", actions=MultiDiscrete([2, 3, 4])),
    "ppo, bits": Saved("PPO", actions=MultiBinary(3)),
    "ppo, image": Saved("PPO", "CnnPolicy", IMAGE, FOUR, {"features_extractor_kwargs": {"features_dim": 20}}),
    "ppo, parts": Saved("PPO", "MultiInputPolicy", PARTS, FOUR),
    "qr-dqn": Saved("QRDQN", actions=FOUR, policy_kwargs={"n_quantiles": 7, "net_arch": [16]}, package="sb3_contrib"),
    "qr-dqn, image": Saved(
        "QRDQN", "CnnPolicy", IMAGE, FOUR, {"n_quantiles": 5, "net_arch": []}, package="sb3_contrib"
    ),
    "trpo": Saved("TRPO", package="sb3_contrib"),
    "tqc": Saved("TQC", policy_kwargs=SMALL, package="sb3_contrib"),
    "a2c, two extractors": Saved("A2C", "CnnPolicy", IMAGE, FOUR, {"share_features_extractor": False}),
    "a2c, categories": Saved("A2C", observations=MultiDiscrete([3, 4]), actions=FOUR),
    "dqn, category": Saved("DQN", observations=Discrete(16), actions=FOUR),
    "a2c, bits seen": Saved("A2C", observations=MultiBinary(6), actions=FOUR),
    "a2c, several axes": Saved("A2C", observations=Box(-1, 1, (3, 4), np.float32), actions=FOUR),
}


def place_of(observations: gym.Space[Any], actions: gym.Space[Any]) -> Place:
    """What a look at an environment of these spaces finds."""
    flat = flat_box(observations)
    assert flat is not None
    emitted = None if isinstance(observations, Box) else observations
    facts = EnvironmentFacts(flat, actions, Description(), (), (), pb.PolicySpec(), emitted)
    return Place(EnvironmentSpec("Still-v0"), facts, "")


def check(case: Saved, path: Path, place: Place) -> None:
    """Save the case's policy and read it for the place; it acts as the library predicts."""
    model = case.save(path)
    policy = read_sb3(path, Sb3Options(), place)
    assert "predict" in policy.original_name
    seen = drawn(policy.emitted_space or policy.observation_space, 200 if case.observations is IMAGE else 2_000)
    assert isinstance(policy.graph, nn.Module)
    got = answers(policy.graph, seen)["action"]
    laid_out = seen if policy.emitted_space is None else unflattened(policy.emitted_space, seen)
    expected, _ = model.predict(laid_out, deterministic=True)
    assert (np.asarray(expected) == policy.original(seen)).all()
    if isinstance(case.actions, Box):
        extent = case.actions.high - case.actions.low
        assert (np.abs(got - expected) / extent).max() < 1e-5
        assert np.ptp(got, axis=0).min() > 0.1
    else:
        assert (got == expected).all()
        assert len(np.unique(got, axis=0)) > 1


@pytest.mark.parametrize("name", CASES)
def test_a_policy_acts_as_the_library_predicts_in_its_environment(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path / "model.zip", place_of(CASES[name].observations, CASES[name].actions))


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"ppo, parts", "dqn, image", "ppo, image"}))
def test_the_spaces_in_the_file_are_enough_without_the_environment(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path / "model.zip", Place())


def test_a_policy_of_sb3_contrib_acts_as_was_recorded_where_the_library_is_not_installed() -> None:
    policy = read_sb3(FIXTURE, Sb3Options(), Place())
    assert (policy.algorithm, policy.source.tool, policy.source.algorithm) == ("qr-dqn", "sb3-contrib 2.9.2", "QR-DQN")
    assert isinstance(policy.graph, nn.Module)
    with np.load(FIXTURE.with_suffix(".npz"), allow_pickle=False) as recorded:
        got = answers(policy.graph, recorded["observation"])
        assert (got["action"] == recorded["action"]).all()
        assert len(np.unique(got["action"])) > 2
    assert got["values"].shape == (500, 4)


def test_an_image_in_a_dict_is_refused_by_its_key(tmp_path: Path) -> None:
    seen = Dict({"camera": Box(0, 255, (40, 36, 3), np.uint8), "speed": Box(-1, 1, (2,))})
    Saved("PPO", "MultiInputPolicy", seen, FOUR).save(tmp_path / "model.zip")
    with pytest.raises(ImportRefused, match=r"expected a Dict without images, got images in camera; .*polserve.export"):
        read_sb3(tmp_path / "model.zip", Sb3Options(), place_of(seen, FOUR))
    with pytest.raises(ImportRefused, match=r"the parts of a Dict only as a pickle, .*; give --env"):
        read_sb3(tmp_path / "model.zip", Sb3Options(), Place())


@pytest.mark.parametrize("file", ["vecnormalize.pkl", "statistics.npz"])
def test_the_statistics_of_vecnormalize_are_a_part_of_the_graph(file: str, tmp_path: Path) -> None:
    envs = VecNormalize(DummyVecEnv([lambda: Still(Box(-5, 50, (5,), np.float32))]), clip_obs=1.5)
    envs.reset()
    for _ in range(50):
        envs.step(np.zeros((1, 2), np.float32))
    model = Saved("PPO", observations=Box(-5, 50, (5,), np.float32)).save(tmp_path / "model.zip")
    path = tmp_path / file
    if path.suffix == ".npz":
        np.savez(path, mean=envs.obs_rms.mean, var=envs.obs_rms.var, clip_obs=1.5, epsilon=envs.epsilon)
    else:
        envs.save(str(path))
    policy = read_sb3(tmp_path / "model.zip", Sb3Options(normalize=str(path)), Place())
    seen = drawn(policy.observation_space, 2_000)
    assert isinstance(policy.graph, nn.Module)
    expected, _ = model.predict(envs.normalize_obs(seen), deterministic=True)
    assert np.abs(answers(policy.graph, seen)["action"] - expected).max() < 2e-5
    assert np.abs(policy.original(seen) - expected).max() < 2e-5


def test_statistics_of_rewards_alone_leave_observations_as_they_are(tmp_path: Path) -> None:
    VecNormalize(DummyVecEnv([Still]), norm_obs=False).save(str(tmp_path / "rewards.pkl"))
    Saved("PPO").save(tmp_path / "model.zip")
    policy = read_sb3(tmp_path / "model.zip", Sb3Options(normalize=str(tmp_path / "rewards.pkl")), Place())
    assert isinstance(policy.graph, nn.Module)
    assert not [name for name, _ in policy.graph.named_buffers() if "deviation" in name]


def test_statistics_of_a_dict_are_refused_with_what_to_do(tmp_path: Path) -> None:
    VecNormalize(DummyVecEnv([lambda: Still(Dict({"speed": Box(-1, 1, (2,))}))])).save(str(tmp_path / "dict.pkl"))
    Saved("PPO").save(tmp_path / "model.zip")
    with pytest.raises(ImportRefused, match=r"those of a Dict are not imported; export the network, .*polserve.export"):
        read_sb3(tmp_path / "model.zip", Sb3Options(normalize=str(tmp_path / "dict.pkl")), Place())


def test_ppo_that_was_trained_with_vecnormalize_asks_for_its_statistics(tmp_path: Path) -> None:
    model = PPO("MlpPolicy", VecNormalize(DummyVecEnv([Still])), n_steps=8, batch_size=8, n_epochs=1, device="cpu")
    model.learn(8)
    model.save(tmp_path / "model.zip")
    with pytest.raises(ImportRefused, match=r"trained with VecNormalize, .* give --normalize vecnormalize.pkl"):
        read_sb3(tmp_path / "model.zip", Sb3Options(), Place())
    for none in ("none", "None"):
        assert read_sb3(tmp_path / "model.zip", Sb3Options(normalize=none), Place()).algorithm == "ppo"


def test_a_policy_that_was_trained_tells_its_steps_and_settings(tmp_path: Path) -> None:
    model = DQN("MlpPolicy", Still(actions=FOUR), learning_starts=10, buffer_size=100, seed=3, device="cpu")
    model.learn(40)
    model.save(tmp_path / "model.zip")
    policy = read_sb3(tmp_path / "model.zip", Sb3Options(), Place())
    assert (policy.environment_steps, policy.seed, policy.settings["buffer_size"]) == (40, 3, 100)


def test_frames_lie_as_vecframestack_lays_them() -> None:
    gray = Box(0, 255, (40, 36, 1), np.uint8)
    envs = VecTransposeImage(VecFrameStack(DummyVecEnv([lambda: Still(gray, is_endless=True)]), 3))
    shown = envs.reset()
    frames = [shown[0, -1:].transpose(1, 2, 0)]
    for _ in range(3):
        shown, *_ = envs.step(np.zeros((1, 2), np.float32))
        frames.append(shown[0, -1:].transpose(1, 2, 0))
    arrangement = arrange("model.zip", gray.shape, (3, 40, 36))
    assert arrangement.frames == 3
    assert (arrangement.apply(np.stack(frames[-3:])[None]) == shown).all()
    assert arrange("model.zip", (5,), (15,)).apply(np.arange(15).reshape(1, 3, 5)).tolist() == [list(range(15))]
