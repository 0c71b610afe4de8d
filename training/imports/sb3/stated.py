"""What the JSON part of an SB3 file states: spaces, settings and classes, all as text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray
from torch import nn

from polserve.training.errors import ImportRefused

TYPE = ":type:"
"""Key beside which SB3 lays a pickled object, which stays unread, and what its attributes are as text."""
NUMBER = re.compile(r"[-+]?(?:inf|nan|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)")
CLASS = re.compile(r"<class '([\w.<>]+)'>")
MOST_NUMBERS = 2**24
"""Most numbers of an observation or action: a file that states more is none of a policy."""
ACTIVATIONS = {
    name.lower(): getattr(nn, name)
    for name in (
        *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU"),
        *("LogSigmoid", "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink"),
        *("Softsign", "Tanh", "Tanhshrink"),
    )
}
"""Activations of torch that need no arguments, by their names in lower case."""


@dataclass(frozen=True, slots=True)
class Stated:
    """The JSON part of an SB3 file."""

    file: str
    content: Mapping[str, Any]

    @property
    def policy_module(self) -> str:
        """Python module of the policy's class, such as "stable_baselines3.dqn.policies"."""
        stated = self.content.get("policy_class")
        return str(stated.get("__module__", "")) if isinstance(stated, Mapping) else ""

    @property
    def policy_kwargs(self) -> Mapping[str, Any]:
        """Arguments of the policy, each as JSON, or as text where it is an object."""
        stated = self.content.get("policy_kwargs")
        return stated if isinstance(stated, Mapping) else {}

    def whole(self, key: str) -> int:
        """Whole number under `key`; 0 where none is stated."""
        value = self.content.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def settings(self) -> dict[str, object]:
        """List the settings of the training that are plain numbers, words or truth values."""
        return {
            key: value
            for key, value in self.content.items()
            if isinstance(value, (str, int, float)) and not key.startswith("_")
        }

    def class_of(self, value: object) -> str:
        """Full name of a class that is stated as text; "" where it is none."""
        found = CLASS.fullmatch(value) if isinstance(value, str) else None
        return found.group(1) if found else ""

    def is_dict(self, key: str) -> bool:
        """Whether the space under `key` is a Dict, whose parts the file tells only as a pickle."""
        stated = self.content.get(key)
        return isinstance(stated, Mapping) and self.class_of(stated.get(TYPE)).endswith(".Dict")

    def space(self, key: str) -> gym.Space[Any]:
        """Space under `key`, told from its attributes.

        Raises:
            ImportRefused: it is none that is known.
        """
        stated = self.content.get(key)
        if not isinstance(stated, Mapping):
            raise ImportRefused(
                f"{self.file}: data: {key}: expected a space, got {_short(stated)}; is it a whole file?"
            )
        if self.is_dict(key):
            raise ImportRefused(
                f"{self.file}: data: {key}: expected an environment, since the file tells the parts of a Dict only as "
                "a pickle, got none that is installed; give --env"
            )
        kind = self.class_of(stated.get(TYPE)).rpartition(".")[2]
        try:
            return _SPACES[kind](stated)
        except KeyError as error:
            raise ImportRefused(
                f"{self.file}: data: {key}: expected {', '.join(_SPACES)}, got {kind or _short(stated)}"
            ) from error
        except (ValueError, TypeError, AssertionError) as error:
            raise ImportRefused(f"{self.file}: data: {key}: expected a {kind}, got a damaged one ({error})") from error


def activation_named(name: str) -> type[nn.Module]:
    """Activation of a name such as relu or Tanh.

    Raises:
        KeyError: there is none of that name.
    """
    found: type[nn.Module] = ACTIVATIONS[name.lower()]
    return found


def _box(stated: Mapping[str, Any]) -> Box:
    shape = tuple(int(extent) for extent in stated["_shape"])
    dtype = np.dtype(str(stated["dtype"]))
    if dtype.kind not in "biuf" or any(extent < 0 for extent in shape) or prod(shape) > MOST_NUMBERS:
        raise ValueError(f"{dtype} {shape}")
    low, high = (_bound(stated, name, shape, dtype) for name in ("low", "high"))
    return Box(low, high, shape, dtype.type)


def _bound(stated: Mapping[str, Any], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Bounds as numpy prints them, which for large arrays leaves numbers out."""
    text = str(stated[name]) if not isinstance(stated.get(f"{name}_repr"), str) else str(stated[f"{name}_repr"])
    numbers = [float(number) for number in NUMBER.findall(text)]
    if len(numbers) == prod(shape):
        return np.array(numbers).reshape(shape).astype(dtype)
    if len(set(numbers)) == 1:
        return np.full(shape, numbers[0]).astype(dtype)
    if dtype.kind == "f":
        return np.full(shape, -np.inf if name == "low" else np.inf).astype(dtype)
    limits = np.iinfo(dtype)
    return np.full(shape, limits.min if name == "low" else limits.max, dtype)


def _discrete(stated: Mapping[str, Any]) -> Discrete:
    n = int(stated["n"])
    if n > MOST_NUMBERS:
        raise ValueError(f"n {n}")
    return Discrete(n, start=int(stated.get("start", 0)))


def _multi_discrete(stated: Mapping[str, Any]) -> MultiDiscrete:
    sizes = [int(size) for size in re.findall(r"\d+", str(stated["nvec"]))]
    if len(sizes) != prod(stated["_shape"]) or sum(sizes) > MOST_NUMBERS:
        raise ValueError(f"nvec {stated['nvec']!r}")
    return MultiDiscrete(np.array(sizes).reshape([int(extent) for extent in stated["_shape"]]))


def _multi_binary(stated: Mapping[str, Any]) -> MultiBinary:
    shape = [int(extent) for extent in stated["_shape"]]
    return MultiBinary(shape[0] if len(shape) == 1 else shape)


_SPACES = {"Box": _box, "Discrete": _discrete, "MultiDiscrete": _multi_discrete, "MultiBinary": _multi_binary}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - characters that are still read
