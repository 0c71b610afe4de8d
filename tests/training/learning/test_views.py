"""Images are seen as images, whatever the order of their axes."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig
from polserve.training.learning.hyperparameters import NetworkConfig
from polserve.training.learning.networks import GreedyPolicy, ValueNetwork
from polserve.training.learning.views import Arranged, View
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.trainee import build_trainee
from polserve.training.versions.export import export_policy
from tests.support.strangers import Line, registered

CONFIG = NetworkConfig(hidden_sizes=(8,))
PIXELS = [
    ((40, 40, 3), "last", (3, 40, 40)),
    ((3, 40, 40), "first", (3, 40, 40)),
    ((40, 40), "none", (1, 40, 40)),
    ((4, 40, 40, 3), "stack last", (12, 40, 40)),
    ((4, 3, 40, 40), "stack first", (12, 40, 40)),
    ((36, 200, 1), "last", (1, 36, 200)),
    ((10, 10, 3), "last", (3, 10, 10)),
    ((4, 12, 9), "first", (4, 12, 9)),
]


def pixels(shape: tuple[int, ...]) -> Box:
    return Box(0, 255, shape, np.uint8)


@pytest.mark.parametrize(("shape", "channels", "image"), PIXELS)
def test_pixels_are_convolved_in_whatever_order_their_axes_come(
    shape: tuple[int, ...], channels: str, image: tuple[int, ...]
) -> None:
    view = View.of(pixels(shape))
    assert (view.channels, view.image_shape, view.has_pixels) == (channels, image, True)
    network = ValueNetwork(CONFIG, view, 2)
    assert any(isinstance(layer, nn.Conv2d) for layer in network.torso)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8))
    assert network(frames).shape == (3, 2)


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((400, 600, 3), (3, 80, 120)),
        ((3, 480, 640), (3, 96, 128)),
        ((40, 1_000), (1, 40, 125)),
        ((200, 31), (1, 50, 31)),
        ((31, 200, 3), (3, 31, 50)),
        ((5, 1_000), (1, 5, 62)),
        ((50, 30), (1, 50, 30)),
        ((210, 160, 3), (3, 105, 80)),
        ((128, 128, 3), (3, 128, 128)),
        ((4, 400, 600), (4, 80, 120)),
    ],
)
def test_a_large_image_is_shrunk_in_the_network(shape: tuple[int, ...], seen: tuple[int, ...]) -> None:
    view = View.of(pixels(shape))
    assert view.seen_shape == seen
    is_said = f"shrunk to {seen[1]} x {seen[2]}" in view.statement(is_convolved=True)
    assert is_said is (seen[1:] != view.image_shape[1:])
    network = ValueNetwork(CONFIG, view, 2)
    frame = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8))
    assert network(frame).shape == (1, 2)
    convolved: list[torch.Tensor] = []
    first = next(layer for layer in network.torso if isinstance(layer, nn.Conv2d))
    first.register_forward_pre_hook(lambda _layer, inputs: convolved.append(inputs[0]))
    network(frame)
    assert convolved[0].shape == (1, *seen)
    assert convolved[0].mean().item() == pytest.approx(frame.float().mean().item() / 255, abs=0.01)


def test_the_same_image_in_any_order_is_the_same_to_the_convolutions() -> None:
    image = torch.rand(2, 3, 40, 50)
    last, grey = image.permute(0, 2, 3, 1), image[:, 0]
    assert torch.equal(Arranged(View.of(pixels((40, 50, 3))))(last), image)
    assert torch.equal(Arranged(View.of(pixels((40, 50))))(grey), image[:, :1])
    stack = torch.stack([image, image + 1], dim=1)  # (n, stack, channels, height, width)
    expected = torch.cat([image, image + 1], dim=1)
    assert torch.equal(Arranged(View.of(pixels((2, 3, 40, 50))))(stack), expected)
    assert torch.equal(Arranged(View.of(pixels((2, 40, 50, 3))))(stack.permute(0, 1, 3, 4, 2)), expected)


@pytest.mark.parametrize(
    ("box", "channels", "has_pixels"),
    [
        (Box(-1, 1, (4,)), None, False),
        (Box(-1, 1, (10, 3)), None, False),
        (Box(0, 1, (10, 10, 4), np.bool_), None, False),  # type: ignore[arg-type]
        (Box(0, 255, (128,), np.uint8), None, True),
        (Box(0, 255, (4,), np.float32), None, False),
        (Box(0, 1, (40, 40, 3)), "last", False),
        (Box(0, 1, (64, 64)), None, False),
        (Box(0, 1, (64, 64, 1)), "last", False),
        (Box(0, 1, (3, 20, 24)), None, False),
        (Box(0, 1, (3, 40, 40)), "first", False),
        (Box(0, 255, (40, 40, 3), np.float32), "last", True),
        (Box(0, 1, (40, 40, 6), np.uint8), "last", False),
    ],
    ids=repr,
)
def test_what_are_no_pixels_is_not_scaled(box: Box, channels: str | None, has_pixels: bool) -> None:  # noqa: FBT001 - a parameter
    view = View.of(box)
    assert (view.channels, view.has_pixels) == (channels, has_pixels)
    assert ValueNetwork(CONFIG, view, 2)(torch.zeros(2, *box.shape)).shape == (2, 2)


@pytest.mark.parametrize("shape", [(12, 10, 3), (200, 31, 1)])
def test_an_image_is_exported_as_the_network_sees_it(shape: tuple[int, ...]) -> None:
    network = ValueNetwork(CONFIG, View.of(pixels(shape)), 2)
    observations = np.random.default_rng(0).integers(0, 256, (64, *shape), np.uint8)
    spec = pb.PolicySpec(name="images", observation=pb.ObservationSpec(dtype=pb.UINT8, shape=shape))
    assert export_policy(GreedyPolicy(network), spec, observations).spec.parity.largest_value_difference < 1e-4


@pytest.mark.parametrize(
    ("shape", "agent", "sentence"),
    [
        ((40, 40, 3), {}, "are seen as images of 40 x 40 pixels with 3 channels on the last axis, scaled from 0..255"),
        (
            (40, 40, 3),
            {"agent": DdpgConfig()},
            "--algo dqn has convolutions, agents of continuous actions none",
        ),
        ((128,), {}, "are seen as a vector of 128 numbers, scaled from 0..255 to 0..1"),
    ],
)
def test_how_images_are_seen_is_said_before_training(shape: tuple[int, ...], agent: Any, sentence: str) -> None:
    class Camera(Line):
        observation_space = pixels(shape)
        action_space = Box(-1.0, 1.0, (1,)) if agent else Line.action_space

        def look(self) -> Any:
            return np.zeros(shape, np.uint8)

    with registered(Camera) as spec:
        assert sentence in " ".join(build_trainee(Recipe("camera", spec, **agent), 0).notes)
