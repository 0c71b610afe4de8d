"""The networks of CleanRL's scripts, rebuilt from the shapes and names of their tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polserve.training.errors import ImportRefused
from polserve.training.imports.cleanrl.reading import SavedPolicy, Tensors

Activation = Callable[[], nn.Module]
ACTIVATIONS: Mapping[str, Activation] = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "silu": nn.SiLU}
STRIDES = {8: 4, 4: 2, 3: 1}
"""Stride of a convolution by its kernel, in the network of Mnih et al. 2015 that every script for Atari uses."""
IMAGE = (84, 84)
"""Height and width of the screens that those scripts make."""
LARGEST_PIXEL = 255.0
MATRIX, KERNELS = 2, 4
"""Axes of a linear layer's weight, and of a convolution's."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A network that acts, and what its shapes tell of the spaces."""

    body: nn.Module
    """From float observations to the head's numbers (n, m)."""
    is_convolutional: bool
    inputs: int
    """Channels of the images, or numbers of an observation."""
    outputs: int


def rebuild(saved: SavedPolicy, activation: str | None) -> Rebuilt:
    """Rebuild the network that acts.

    Args:
        saved: the policy.
        activation: between layers, where it is not the script's.

    Raises:
        ImportRefused: the tensors are no such network's.
    """
    tensors = saved.tensors
    if "fc1.weight" in tensors:
        rest = [name.removesuffix(".weight") for name in tensors if name in _HEADS]
        layers = [*_sequence(tensors, "conv", nn.ReLU), *_named(tensors, ["fc1", "fc2", *rest[:1]], activation)]
        return _rebuilt(layers)
    is_ppo = saved.algorithm == "ppo"
    trunk = _sequence(tensors, "network", _chosen(activation, "relu"))
    default = "relu" if trunk or not is_ppo else "tanh"  # PPO's scripts use tanh, but behind images
    actor = next((name for name in ("actor_mean", "actor") if f"{name}.weight" in tensors), "")
    if actor:  # a single layer behind the trunk
        return _rebuilt([*trunk, *([_chosen(activation, default)()] if trunk else []), _layer(tensors, actor)])
    name = "actor_mean" if any(key.startswith("actor_mean.") for key in tensors) else "actor"
    head = _sequence(tensors, name, _chosen(activation, default)) if is_ppo else []
    if trunk and head:
        trunk.append(_chosen(activation, default)())
    return _rebuilt([*trunk, *head])


_HEADS = ("fc_mu.weight", "fc_mean.weight", "fc_logits.weight")


def _chosen(activation: str | None, default: str) -> Activation:
    return ACTIVATIONS[activation or default]


def _named(tensors: Tensors, names: list[str], activation: str | None) -> list[nn.Module]:
    """Layers of an actor whose layers have names, with activations between them."""
    layers: list[nn.Module] = []
    if any(name.startswith("conv.") for name in tensors):
        layers += [nn.ReLU(), nn.Flatten()]
    found = [name for name in names if f"{name}.weight" in tensors]
    for name in found:
        layers += [_layer(tensors, name), _chosen(activation, "relu")()]
    return layers[:-1]


def _sequence(tensors: Tensors, prefix: str, activation: Activation) -> list[nn.Module]:
    """Layers of an nn.Sequential, with an activation where a number is left out between two of them."""
    start = f"{prefix}."
    numbers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith(start) and _is_numbered(name)})
    layers: list[nn.Module] = []
    for i, number in enumerate(numbers):
        layer = _layer(tensors, f"{prefix}.{number}")
        if i and number > numbers[i - 1] + 1:
            layers.append(activation())
        if isinstance(layer, nn.Linear) and any(isinstance(before, nn.Conv2d) for before in layers[-2:]):
            layers.append(nn.Flatten())
        layers.append(layer)
    return layers


def _is_numbered(name: str) -> bool:
    _, number, *rest = name.split(".")
    return number.isdecimal() and rest in (["weight"], ["bias"])


def _layer(tensors: Tensors, name: str) -> nn.Module:
    """Layer of that name: a convolution, a linear layer or a layer norm, by its weight's axes."""
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None or weight.ndim not in {1, MATRIX, KERNELS}:
        got = "none" if weight is None else f"one of {tuple(weight.shape)}"
        raise ImportRefused(f"{name}: expected the weight of a linear layer, a convolution or a layer norm, got {got}")
    layer: nn.Module
    if weight.ndim == KERNELS:
        outputs, inputs, height, width = weight.shape
        if height not in STRIDES:
            raise ImportRefused(
                f"{name}: expected a kernel of 8, 4 or 3, whose strides are 4, 2 and 1, got {height}: the file does "
                "not tell its stride; export the network with polserve.export(module, ...)"
            )
        layer = nn.Conv2d(inputs, outputs, (height, width), STRIDES[height], bias=bias is not None)
    elif weight.ndim == MATRIX:
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    else:
        layer = nn.LayerNorm(weight.shape[0])
    state = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    try:
        layer.load_state_dict(state)
    except RuntimeError as error:
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        raise ImportRefused(f"{name}: expected a bias as long as the weight's first axis, got {shapes}") from error
    return layer


def _rebuilt(layers: list[nn.Module]) -> Rebuilt:
    """Check that each layer takes what the one before it gives; images' sizes are for the spaces to check."""
    weighted = [layer for layer in layers if isinstance(layer, (nn.Conv2d, nn.Linear))]
    if not weighted:
        raise ImportRefused("expected layers with weights in the network that acts, got none")
    first, last = weighted[0], weighted[-1]
    sizes = [(int(layer.weight.shape[1]), int(layer.weight.shape[0])) for layer in weighted]
    for i in range(1, len(weighted)):
        is_flattened = isinstance(weighted[i], nn.Linear) and isinstance(weighted[i - 1], nn.Conv2d)
        given, taken = sizes[i - 1][1], sizes[i][0]
        if taken % given if is_flattened else taken != given:
            raise ImportRefused(
                f"expected layers that fit one another, got one of {given} outputs before one of {taken} inputs: "
                "the file's tensors are of another network"
            )
    return Rebuilt(nn.Sequential(*layers), isinstance(first, nn.Conv2d), sizes[0][0], int(last.weight.shape[0]))


class Observed(nn.Module):
    """What the scripts make of an observation before the network: floats, in a row or as images from 0 to 1."""

    def __init__(self, *, is_image: bool) -> None:
        super().__init__()
        self._is_image = is_image

    def forward(self, observations: Tensor) -> Tensor:
        """Floats (n, m), or (n, channels, height, width), of observations (n, *shape)."""
        numbers = observations.to(torch.float32)
        return numbers / LARGEST_PIXEL if self._is_image else numbers.flatten(1)
