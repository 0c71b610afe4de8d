"""What makes actions of a CleanRL network's outputs, by algorithm, and the space of those actions."""

from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from polserve.training.environments.spaces import float32_bounds, short
from polserve.training.errors import ImportRefused
from polserve.training.imports.cleanrl.heads import ByDistributions, Squashed
from polserve.training.imports.cleanrl.networks import Rebuilt
from polserve.training.imports.cleanrl.reading import SavedPolicy
from polserve.training.imports.layers import ByLogits, ByValue, Clipped
from polserve.training.imports.places import Place

Bounds: TypeAlias = tuple[float, float]
Head: TypeAlias = tuple[nn.Module, gym.Space[Any]]
"""What makes the actions, and their space."""
REMEDY = "name the one that it was trained in, with its wrappers (--env, --module, --env-kwargs)"


def choose(path: Path, saved: SavedPolicy, rebuilt: Rebuilt, place: Place, bounds: Bounds | None) -> Head:
    """Find what makes actions of the network's outputs, and their space.

    Raises:
        ImportRefused: the file lacks what it takes, or the environment takes other actions.
    """
    known = place.facts.action_space if place.facts else None
    if "fc_mu.weight" in saved.tensors or "fc_mean.weight" in saved.tensors:
        return _squashed(path, saved, rebuilt.outputs, known)
    if saved.algorithm == "ppo" and any(name.startswith("actor_mean") for name in saved.tensors):
        return _clipped(path, rebuilt.outputs, known, bounds)
    head: nn.Module = ByLogits() if saved.algorithm in {"ppo", "sac"} else ByValue()
    n = rebuilt.outputs
    if saved.algorithm == "c51":
        atoms = _atoms(path, saved)
        if n % len(atoms):
            raise ImportRefused(f"{path.name}: expected outputs for each of {len(atoms)} atoms, got {n}")
        n //= len(atoms)
        head = ByDistributions(atoms, n)
    if known is not None and not (isinstance(known, Discrete) and known.n == n and known.start == 0):
        raise ImportRefused(
            f"{path.name}: the network chooses one of {n} actions, from 0, got an environment that takes "
            f"{short(known)}; {REMEDY}"
        )
    return head, Discrete(n)


def _atoms(path: Path, saved: SavedPolicy) -> Tensor:
    """Find the returns over which a distribution is given: the file's buffer, or by the script's arguments."""
    if "atoms" in saved.tensors:
        return saved.tensors["atoms"].to(torch.float32).ravel()
    wanted = ("v_min", "v_max", "n_atoms")
    lowest, highest, n = (saved.settings.get(name) for name in wanted)
    if not isinstance(lowest, (int, float)) or not isinstance(highest, (int, float)) or not isinstance(n, int) or n < 1:
        raise ImportRefused(f"{path.name}: expected atoms, or the arguments {', '.join(wanted)}, got neither")
    return torch.linspace(lowest, highest, n)


def _squashed(path: Path, saved: SavedPolicy, k: int, known: gym.Space[Any] | None) -> Head:
    buffers = [saved.tensors[name] for name in ("action_scale", "action_bias") if name in saved.tensors]
    if len(buffers) != 2:  # noqa: PLR2004 - both of them
        raise ImportRefused(
            f"{path.name}: expected the buffers action_scale and action_bias of the actor, got a state dict without; "
            "save the whole actor's state_dict()"
        )
    scale, bias = (buffer.to(torch.float32).ravel() for buffer in buffers)
    if not {len(scale), len(bias)} <= {1, k} or not bool((scale > 0).all()):
        raise ImportRefused(
            f"{path.name}: expected an action_scale above 0 for each of {k} components, got {scale.tolist()}"
        )
    scale, bias = scale.expand(k).clone(), bias.expand(k).clone()
    low, high = (bias - scale).numpy(), (bias + scale).numpy()
    if known is None:
        return Squashed(scale, bias), Box(low, high, (k,), np.float32)
    space = _require_box(path, k, known)
    if not all(np.allclose(mine, own) for mine, own in zip((low, high), float32_bounds(space), strict=True)):
        raise ImportRefused(
            f"{path.name}: the actor acts between {low.tolist()} and {high.tolist()}, got an environment that takes "
            f"{short(space)}; {REMEDY}"
        )
    return Squashed(scale, bias), space


def _clipped(path: Path, k: int, known: gym.Space[Any] | None, bounds: Bounds | None) -> Head:
    if known is None:
        if bounds is None:
            raise ImportRefused(
                f"{path.name}: expected an environment that is installed, since the file of PPO for continuous actions "
                "tells no bounds of them, got none: name it with --env, or give --action-bounds LOW,HIGH"
            )
        known = Box(*bounds, (k,), np.float32)
    space = _require_box(path, k, known)
    return Clipped(*float32_bounds(space)), space


def _require_box(path: Path, k: int, known: gym.Space[Any]) -> Box:
    if not isinstance(known, Box) or known.shape != (k,):
        raise ImportRefused(
            f"{path.name}: the actor gives {k} numbers, got an environment that takes {short(known)}; {REMEDY}"
        )
    return known
