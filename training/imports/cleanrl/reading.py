"""What a `.cleanrl_model` holds: state dicts, read without unpickling anything, and the algorithm that they tell."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from polserve.training.errors import ImportRefused

Tensors: TypeAlias = Mapping[str, Tensor]

MOST_BYTES = 1 << 30
"""Largest file that is read, unpacked; CleanRL's largest networks take a hundredth of it."""
WRITTEN_BY = "expected what CleanRL's scripts save with --save-model"
_WRAPPED = ("_orig_mod.", "module.")
"""What torch.compile and DataParallel put before the names of a network's tensors."""


@dataclass(frozen=True, slots=True)
class SavedPolicy:
    """A CleanRL script's saved policy."""

    algorithm: str
    """Of the script: dqn, c51, ddpg, td3, sac or ppo."""
    tensors: Tensors
    """State dict of the network that acts."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the script, where it saved them."""


def read_saved(path: Path) -> SavedPolicy:
    """Read a CleanRL script's saved policy.

    Raises:
        ImportRefused: the file is none, or holds numbers that are none.
    """
    saved = _load(path)
    policy = _of_parts(path, saved) if isinstance(saved, (tuple, list)) else _of_mapping(path, saved)
    for name, tensor in policy.tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ImportRefused(
                f"{path.name}: {name}: expected finite weights, got NaN or infinite ones: the training diverged; "
                "import an earlier checkpoint"
            )
    return policy


def _load(path: Path) -> Any:
    """Load the file by torch's loader of weights alone."""
    _check_form(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImportRefused(
            f"{path.name}: {WRITTEN_BY}, state dicts and plain values; torch's loader of weights refused the file "
            f"and ran nothing in it ({reason}); save network.state_dict() and import that"
        ) from error


def _check_form(path: Path) -> None:
    """Raise ImportRefused where the file is no archive of torch.save, or unpacks to too much."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise ImportRefused(f"{path}: expected a file that can be read: {error.strerror}") from error
    if not head.startswith(b"PK"):
        raise ImportRefused(f"{path.name}: {WRITTEN_BY}, an archive of torch.save, got {_other_form(head)}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ImportRefused(f"{path.name}: {WRITTEN_BY}, got a damaged archive ({error}); copy it again") from error
    size = sum(member.file_size for member in members)
    if size > MOST_BYTES:
        raise ImportRefused(f"{path.name}: expected at most {MOST_BYTES:,} bytes unpacked, got {size:,}")
    if not any(member.filename.endswith("/data.pkl") for member in members):
        names = ", ".join(member.filename for member in members[:4])
        remedy = "; import it by `polserve import sb3`" if any(m.filename == "policy.pth" for m in members) else ""
        raise ImportRefused(f"{path.name}: {WRITTEN_BY}, an archive of torch.save, got one of {names}{remedy}")


def _other_form(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head[:2] in {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}:
        return "a pickle, which is never read: load it where you trust it, and torch.save its state_dict()"
    if head[0] & 0xF0 in {0x80, 0x90} or head[0] in {0xDC, 0xDD, 0xDE, 0xDF}:
        return (
            "MessagePack, as flax writes it in the scripts whose names end in _jax, which are not supported: train "
            "with the script of torch, or export the network to ONNX for `polserve import onnx`"
        )
    return f"a file that begins with {head!r}"


def _of_parts(path: Path, parts: tuple[Any, ...] | list[Any]) -> SavedPolicy:
    """Read what the scripts of actors and critics save: the actor first, then one critic or two."""
    if not parts or not all(_is_state_dict(part) for part in parts):
        raise ImportRefused(f"{path.name}: {WRITTEN_BY}, got {len(parts)} parts that are no state dicts")
    policy = _of_mapping(path, parts[0])
    has_twins = len(parts) > 2  # noqa: PLR2004 - the actor and one critic
    return SavedPolicy("td3", policy.tensors) if policy.algorithm == "ddpg" and has_twins else policy


def _of_mapping(path: Path, saved: Any) -> SavedPolicy:
    """Read what the other scripts save: a state dict, or one with the script's arguments."""
    settings: Mapping[str, Any] = {}
    if isinstance(saved, Mapping) and _is_state_dict(saved.get("model_weights")):
        arguments = saved.get("args")
        saved, settings = saved["model_weights"], arguments if isinstance(arguments, Mapping) else {}
    if not _is_state_dict(saved):
        raise ImportRefused(f"{path.name}: {WRITTEN_BY}, a state dict by names, got {type(saved).__name__}")
    tensors = {_bare(name): tensor for name, tensor in saved.items()}
    algorithm = _algorithm(tensors.keys(), settings)
    if algorithm is None:
        names = ", ".join(list(tensors)[:6])
        raise ImportRefused(
            f"{path.name}: {WRITTEN_BY}, got a state dict of {names}: no network of its scripts has these names; "
            "import a network of your own by polserve.export(module, ...)"
        )
    return SavedPolicy(algorithm, tensors, settings)


def _bare(name: str) -> str:
    for prefix in _WRAPPED:
        name = name.removeprefix(prefix)
    return name


def _is_state_dict(saved: Any) -> bool:
    return isinstance(saved, Mapping) and bool(saved) and all(isinstance(value, Tensor) for value in saved.values())


def _algorithm(names: Any, settings: Mapping[str, Any]) -> str | None:
    """Algorithm whose script names its tensors so; None where no script does."""
    if "atoms" in names or "n_atoms" in settings:
        return "c51"
    told = {"fc_mu.weight": "ddpg", "fc_mean.weight": "sac", "fc_logits.weight": "sac"}
    for name, algorithm in told.items():
        if name in names:
            return algorithm
    if any(name.startswith(("actor_mean.", "actor.")) for name in names):
        return "ppo"
    return "dqn" if any(name.startswith("network.") for name in names) else None
