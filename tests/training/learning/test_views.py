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
    assert (view.channels, view.image_shape, view.highest) == (channels, image, 255)
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


def bytes_to(highest: int, *shape: int) -> Box:
    return Box(0, highest, shape, np.uint8)


@pytest.mark.parametrize(
    ("box", "channels", "highest"),
    [
        (bytes_to(1, 64, 64), "none", None),
        (bytes_to(1, 10, 10, 4), "last", None),
        (bytes_to(1, 40, 40, 6), "last", None),
        (bytes_to(1, 4, 10, 10, 4), "stack last", None),
        (bytes_to(254, 84, 84, 3), "last", 254),
        (bytes_to(200, 4, 4, 3), None, 200),
        (bytes_to(255, 128), None, 255),
        (bytes_to(200, 128), None, None),
        (bytes_to(255, 64, 64, 24), "last", 255),
        (bytes_to(255, 24, 64, 64), "first", 255),
        (bytes_to(255, 64, 64, 3, 4), "both last", 255),
        (bytes_to(255, 16, 16, 32), "last", 255),
        (bytes_to(255, 100, 16, 16), "first", 255),
        (bytes_to(255, 100, 3), None, 255),
        (Box(np.zeros((8, 8), np.uint8), 9 - np.eye(8, dtype=np.uint8), dtype=np.uint8), "none", 9),
    ],
    ids=repr,
)
def test_bytes_of_two_or_three_axes_are_a_picture_whatever_their_bounds(
    box: Box, channels: str | None, highest: float | None
) -> None:
    check_seen(box, channels, highest)


@pytest.mark.parametrize(
    ("box", "channels", "highest"),
    [
        (Box(0, 1, (10, 10, 4), np.bool_), "last", None),  # type: ignore[arg-type]
        (Box(0, 1, (40, 40, 3)), "last", None),
        (Box(0, 1, (32, 32, 3)), "last", None),
        (Box(0, 1, (3, 32, 32)), "first", None),
        (Box(0, 1, (3, 20, 24)), "first", None),
        (Box(0, 1, (4, 32, 32, 3)), "stack last", None),
        (Box(0, 1, (64, 64)), "none", None),
        (Box(0, 1, (64, 64, 1)), "last", None),
        (Box(0, 1, (3, 40, 40)), "first", None),
        (Box(0, 255, (32, 32, 3), np.float32), "last", 255),
        (Box(0, 10, (32, 32, 3), np.float64), "last", 10),
        (Box(-1, 1, (3, 64, 64)), "first", None),
        (Box(0, np.inf, (64, 64, 3)), "last", None),
        (Box(0, np.finfo(np.float32).max, (64, 64, 3)), "last", None),
    ],
    ids=repr,
)
def test_floats_of_a_pictures_shape_and_bounds_are_a_picture(
    box: Box, channels: str | None, highest: float | None
) -> None:
    check_seen(box, channels, highest)


@pytest.mark.parametrize(
    "box",
    [
        Box(-1, 1, (4,)),
        Box(-1, 1, (10, 3)),
        Box(0, 255, (4,), np.float32),
        Box(0, 1, (20, 20)),
        Box(0, 1, (50, 1_000)),
        Box(-np.inf, np.inf, (64, 64)),
        Box(0, np.inf, (32, 32, 3)),
        Box(-1, 1, (32, 32, 3)),
        Box(0, 1, (100, 10, 3)),
        Box(0, 1, (6, 6, 3)),
        Box(0, 1, (12, 12, 12)),
        Box(np.zeros((32, 32, 3), np.float32), np.arange(3_072, dtype=np.float32).reshape(32, 32, 3) + 1),
    ],
    ids=repr,
)
def test_what_is_more_likely_a_table_is_a_vector(box: Box) -> None:
    check_seen(box, None, None)


def check_seen(box: Box, channels: str | None, highest: float | None) -> None:
    """Hold what a view says of a space, and that a network takes what the space holds."""
    view = View.of(box)
    assert (view.channels, view.highest) == (channels, highest)
    network = ValueNetwork(CONFIG, view, 2)
    seen: list[torch.Tensor] = []
    first = next(layer for layer in network.torso if isinstance(layer, (nn.Conv2d, nn.Linear)))
    first.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    assert network(torch.from_numpy(np.stack([np.nan_to_num(box.high, posinf=1.0)] * 2))).shape == (2, 2)
    if highest is not None:
        assert float(seen[0].max()) == pytest.approx(1.0)


def test_a_stack_of_vectors_of_bytes_is_no_picture() -> None:
    assert View.of(bytes_to(1, 8, 20), frames=8).channels is None
    assert View.of(bytes_to(1, 8, 20)).channels == "none"
    assert View.of(pixels((8, 128)), frames=8) == View((8, 128), 255)


def test_channels_and_stack_behind_the_sides_are_brought_to_the_front() -> None:
    stack = torch.rand(2, 4, 3, 40, 50)  # (n, stack, channels, height, width)
    behind = stack.permute(0, 3, 4, 2, 1)
    assert torch.equal(Arranged(View.of(pixels((40, 50, 3, 4))))(behind), stack.flatten(1, 2))


def test_a_picture_that_is_too_small_for_convolutions_is_said_to_be() -> None:
    said = View.of(bytes_to(200, 4, 4, 3)).statement(is_convolved=True)
    assert said == (
        "observations (4, 4, 3) are seen as a vector of 48 numbers, scaled from 0..200 to 0..1, "
        "since they are too small for convolutions"
    )
    for other in (View.of(Box(0, 1, (10, 3))), View.of(pixels((4, 128)), frames=4), View.of(pixels((128,)))):
        assert "too small" not in other.statement(is_convolved=True)


def test_an_image_whose_numbers_have_no_bounds_is_said_not_to_be_scaled() -> None:
    said = View.of(Box(0, np.inf, (64, 64, 3))).statement(is_convolved=True)
    assert "3 channels on the last axis, not scaled, since their space has no bounds" in said
    assert "not scaled" not in View.of(Box(-1, 1, (64, 64, 3))).statement(is_convolved=True)


def test_the_bits_of_pixels_to_255_are_those_of_ever() -> None:
    frames = torch.arange(256, dtype=torch.uint8).expand(1, 40, 256)
    for kind, factor, offset in (("unit", 1 / 255, 0.0), ("guide", 1 / 128, -2.0)):
        config = NetworkConfig(hidden_sizes=(8,), pixels=kind)  # type: ignore[arg-type]
        scaled = ValueNetwork(config, View.of(pixels((40, 256))), 2).torso[0](frames)
        assert torch.equal(scaled, frames.to(torch.float32) * factor + offset)


@pytest.mark.parametrize(
    ("box", "dtype"),
    [
        (pixels((12, 10, 3)), pb.UINT8),
        (pixels((200, 31, 1)), pb.UINT8),
        (bytes_to(200, 10, 12, 3, 4), pb.UINT8),
        (Box(0, 1, (10, 10, 4), np.bool_), pb.BOOL),  # type: ignore[arg-type]
        (Box(0, 9, (12, 12, 3)), pb.FLOAT32),
    ],
    ids=repr,
)
def test_an_image_is_exported_as_the_network_sees_it(box: Box, dtype: pb.DataType) -> None:
    network = ValueNetwork(CONFIG, View.of(box), 2)
    assert any(isinstance(layer, nn.Conv2d) for layer in network.torso)
    observations = np.stack([box.sample() for _ in range(64)])
    spec = pb.PolicySpec(name="images", observation=pb.ObservationSpec(dtype=dtype, shape=box.shape))
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
