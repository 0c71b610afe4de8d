"""State of generators and of arrays, in the form that a checkpoint keeps."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def rng_state(rng: np.random.Generator) -> str:
    """Write the generator's state as JSON (its integers exceed 64 bits)."""
    return json.dumps(rng.bit_generator.state)


def restore_rng(rng: np.random.Generator, state: str) -> None:
    """Put the generator where `rng_state` found it."""
    rng.bit_generator.state = json.loads(state)


def to_arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Numpy views of tensors that were saved as arrays."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}
