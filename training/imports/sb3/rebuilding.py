"""The network of an SB3 policy, built anew from the names and shapes of its weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from torch import Tensor, nn

from polserve.training.environments.spaces import float32_bounds, short
from polserve.training.errors import ImportRefused
from polserve.training.imports.layers import (
    ByBits,
    ByLogits,
    ByParts,
    ByQuantiles,
    ByValue,
    Clipped,
    NatureCnn,
    Rescaled,
)
from polserve.training.imports.sb3.kinds import Kind
from polserve.training.imports.sb3.stated import Stated

CLIP_MEAN = 2.0
"""What SAC with gSDE clips its means to where the file states nothing: SB3's default."""
KERNELS = ((8, 8), (4, 4), (3, 3))
"""Kernels of NatureCNN, whose strides no weight tells."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What was read of an SB3 file, and what was told of it."""

    stated: Stated
    state: Mapping[str, Tensor]
    kind: Kind
    activation: type[nn.Module]
    shape: tuple[int, ...]
    """Shape of the observation as the policy takes it: channels first, frames side by side."""
    action_space: gym.Space[Any]

    @property
    def file(self) -> str:
        """The file's name, for errors."""
        return self.stated.file

    @property
    def is_squashed(self) -> bool:
        """Whether an actor's outputs pass tanh, and are in the action's range then."""
        if self.kind.is_discrete is None:
            return bool(self.stated.policy_kwargs.get("squash_output", False))
        return not self.kind.is_discrete

    def extractor(self) -> str:
        """Where the weights of the features extractor that acts are; "" for one without weights."""
        found = (prefix for prefix in self.kind.extractors if any(name.startswith(prefix) for name in self.state))
        return next(found, "")

    def widths(self, prefix: str) -> list[int]:
        """List the outputs of the layers below `prefix`, in their order."""
        return [int(self.state[name].shape[0]) for name in linear_names(self.state, prefix)]


def linear_names(state: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Names of the weights of linear layers below `prefix`, in their order."""
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.weight")
    found = {int(match.group(1)): name for name in state if (match := pattern.fullmatch(name))}
    return [found[index] for index in sorted(found) if state[found[index]].ndim == 2]  # noqa: PLR2004 - (out, in)


def rebuild(saved: Saved) -> nn.Sequential:
    """Build the network, from the preprocessed observation to the action, or to the action and values.

    Raises:
        ImportRefused: its weights are not of a network that is known, or do not fit the spaces.
    """
    features, width = feature_layers(saved)
    return nn.Sequential(*features, *acting_layers(saved, width)).eval()


def feature_layers(saved: Saved) -> tuple[list[nn.Module], int]:
    """Build the features extractor; return it with the number of its outputs.

    Raises:
        ImportRefused: its weights are not of one that is known, or do not fit the observations.
    """
    prefix = saved.extractor()
    if not prefix:
        return [nn.Flatten()], prod(saved.shape)
    features = _nature_cnn(saved, prefix)
    return [features], int(features.linear[0].out_features)  # type: ignore[arg-type]


def acting_layers(saved: Saved, width: int) -> list[nn.Module]:
    """Build the layers from `width` features to the action, or to the action and values.

    Raises:
        ImportRefused: their weights are not of layers that are known, or do not fit the actions.
    """
    parts: list[nn.Module] = []
    for network in saved.kind.networks:
        layers = _layers(saved, network, width)
        _check_used(saved, network, layers)
        parts += layers
        width = next((layer.out_features for layer in reversed(layers) if isinstance(layer, nn.Linear)), width)
    return [*parts, *_finishing(saved, width)]


def _layers(saved: Saved, prefix: str, width: int) -> list[nn.Module]:
    """Layers below `prefix`, of which the first takes `width` numbers; none where there are no weights."""
    if f"{prefix}weight" in saved.state:
        return [_linear(saved, prefix, width)]
    names = linear_names(saved.state, prefix)
    is_last = prefix == saved.kind.networks[-1]
    layers: list[nn.Module] = []
    for index, name in enumerate(names):
        stem = name.removesuffix("weight")
        if stem != f"{prefix}{2 * index}.":
            raise ImportRefused(
                f"{saved.file}: policy.pth: {name}: expected linear layers with one activation between them, got "
                "others between; export the network with polserve.export(module, ...)"
            )
        linear = _linear(saved, stem, width)
        width = linear.out_features
        is_output = is_last and index == len(names) - 1
        layers += [linear] if is_output else [linear, _activation(saved, f"{prefix}{2 * index + 1}.")]
    return layers


def _check_used(saved: Saved, prefix: str, layers: list[nn.Module]) -> None:
    """Raise ImportRefused where there are weights below `prefix` that no layer took."""
    names = [name for name in saved.state if name.startswith(prefix)]
    if len(names) != sum(len(layer.state_dict()) for layer in layers):
        raise ImportRefused(
            f"{saved.file}: policy.pth: {prefix}*: expected the weights of linear layers with one activation between "
            f"them, got {', '.join(names)}; export the network with polserve.export(module, ...)"
        )


def _linear(saved: Saved, stem: str, width: int) -> nn.Linear:
    weight, bias = saved.state[f"{stem}weight"], saved.state.get(f"{stem}bias")
    if weight.ndim != 2 or weight.shape[1] != width:  # noqa: PLR2004 - (out, in)
        raise ImportRefused(
            f"{saved.file}: policy.pth: {stem}weight: expected (n, {width}), for observations {saved.shape} and the "
            f"layers before it, got {tuple(weight.shape)}; the weights are not of the spaces that the file states"
        )
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _load(saved, linear, stem)
    return linear


def _activation(saved: Saved, stem: str) -> nn.Module:
    activation = saved.activation()
    _load(saved, activation, stem)
    return activation


def _nature_cnn(saved: Saved, prefix: str) -> NatureCnn:
    names = {name.removeprefix(prefix) for name in saved.state if name.startswith(prefix)}
    weights = [saved.state.get(f"{prefix}cnn.{index}.weight") for index in (0, 2, 4)]
    if images := sorted({name.split(".")[1] for name in names if name.startswith("extractors.")}):
        raise ImportRefused(
            f"{saved.file}: expected a Dict without images, got images in {', '.join(images)}; "
            "images in a Dict are not imported: export the network with polserve.export(module, ...)"
        )
    kernels = tuple(tuple(weight.shape[2:]) for weight in weights if weight is not None)
    linear = saved.state.get(f"{prefix}linear.0.weight")
    if kernels != KERNELS or linear is None or len(names) != 2 * (len(KERNELS) + 1):
        raise ImportRefused(
            f"{saved.file}: policy.pth: {prefix}*: expected the weights of NatureCNN, got {', '.join(sorted(names))}; "
            "a features extractor of your own is not in the file: export the network with polserve.export(module, ...)"
        )
    flat = 64 * prod(_extent(extent) for extent in saved.shape[1:]) if len(saved.shape) == 3 else 0  # noqa: PLR2004
    expected = {"cnn.0.weight": (32, saved.shape[0], 8, 8), "linear.0.weight": (linear.shape[0], flat)}
    for name, shape in expected.items():
        got = tuple(saved.state[f"{prefix}{name}"].shape)
        if got != shape:
            raise ImportRefused(
                f"{saved.file}: policy.pth: {prefix}{name}: expected {shape} for observations {saved.shape}, got {got}"
            )
    cnn = NatureCnn(saved.shape[0], flat, linear.shape[0])
    _load(saved, cnn, prefix)
    return cnn


def _extent(extent: int) -> int:
    """Height or width after NatureCNN's convolutions."""
    for kernel, stride in ((8, 4), (4, 2), (3, 1)):
        extent = (extent - kernel) // stride + 1
    return max(extent, 0)


def _load(saved: Saved, module: nn.Module, prefix: str) -> None:
    own = {name.removeprefix(prefix): value for name, value in saved.state.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ImportRefused(
            f"{saved.file}: policy.pth: {prefix}*: expected the weights of a {type(module).__name__}, got others "
            f"({reason}); if the activation is another one, give --activation"
        ) from error


def _finishing(saved: Saved, width: int) -> list[nn.Module]:
    """List what comes after the last linear layer, of `width` outputs."""
    space = saved.action_space
    if isinstance(space, Discrete) and saved.kind.is_discrete is not False:
        n, name = int(space.n), saved.kind.algorithms[0]
        if name == "qr-dqn":
            quantiles = saved.stated.whole("n_quantiles") or max(width // n, 1)
            _check_width(saved, width, quantiles * n)
            return [ByQuantiles(quantiles, n)]
        _check_width(saved, width, n)
        return [ByValue() if saved.kind.is_discrete else ByLogits()]
    if isinstance(space, (MultiDiscrete, MultiBinary)) and saved.kind.is_discrete is None and len(space.shape) == 1:
        is_binary = isinstance(space, MultiBinary)
        sizes = [1] * space.shape[0] if isinstance(space, MultiBinary) else space.nvec.tolist()
        _check_width(saved, width, sum(sizes))
        return [ByBits() if is_binary else ByParts(sizes)]
    if isinstance(space, Box) and len(space.shape) == 1 and not saved.kind.is_discrete:
        _check_width(saved, width, space.shape[0])
        low, high = float32_bounds(space)
        if not saved.is_squashed:
            return [Clipped(low, high)]
        clip = saved.stated.policy_kwargs.get("clip_mean", CLIP_MEAN)
        is_clipped = f"{saved.kind.networks[-1]}0.weight" in saved.state and "sac" in saved.kind.algorithms
        return [*([nn.Hardtanh(-float(clip), float(clip))] if is_clipped else []), nn.Tanh(), Rescaled(low, high)]
    raise ImportRefused(
        f"{saved.file}: expected {'Discrete actions' if saved.kind.is_discrete else 'actions in a Box (k,)'} for "
        f"{saved.kind.name}, got {short(space)}"
    )


def _check_width(saved: Saved, width: int, n: int) -> None:
    if width != n:
        raise ImportRefused(
            f"{saved.file}: policy.pth: {saved.kind.networks[-1]}*: expected {n} outputs for "
            f"{short(saved.action_space)}, got {width}; the weights are not of the spaces that the file states"
        )
