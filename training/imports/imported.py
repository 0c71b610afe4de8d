"""What every importer returns: a graph, its spaces, where it came from, and what its actions are compared with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import onnx
from numpy.typing import NDArray
from torch import nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.descriptions import Description

Answer: TypeAlias = Callable[..., NDArray[Any]]
"""From observations (n, *shape), and of a recurrent policy its states by name, to one array with an answer for each."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file that a policy was imported from."""

    tool: str
    """What trained it, with its version where the file tells it: "stable-baselines3 2.9.0"."""
    file: str
    """The file's name, without its folder."""
    sha256: str
    algorithm: str
    """The algorithm as the tool names it: "PPO"."""

    @classmethod
    def of(cls, path: Path, tool: str, algorithm: str) -> "Source":
        """Describe a file, with its checksum."""
        with path.open("rb") as file:
            return cls(tool, path.name, file_digest(file, "sha256").hexdigest(), algorithm)

    def message(self) -> pb.Source:
        """Source as the spec states it."""
        return pb.Source(tool=self.tool, file=self.file, sha256=self.sha256, algorithm=self.algorithm)


@dataclass(frozen=True, slots=True)
class ImportedPolicy:
    """A policy of another tool, ready to be compared with the original and made into a version."""

    algorithm: str
    """The algorithm as the spec names it: "ppo"."""
    graph: nn.Module | onnx.ModelProto
    """From observations (n, *shape) to actions, or to actions and values."""
    observation_space: gym.Space[Any]
    """Observations as the version carries them: a Box."""
    action_space: gym.Space[Any]
    source: Source
    original: Answer
    """The actions that the graph's are compared with."""
    original_name: str
    """What `original` is, in words: "stable-baselines3's predict", "the network rebuilt in torch"."""
    preferences: Answer | None = None
    """What the original takes the arg-max of, (n, actions): by it, a tie is told from a difference; None where
    unknown, or where actions are not discrete."""
    emitted_space: gym.Space[Any] | None = None
    """What an observation is laid out from, where the environment emits no Box (`training.environments.layouts`)."""
    description: Description = field(default_factory=Description)
    """Names and units that are known without an environment."""
    states: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shape of each state of a recurrent policy, for one observation: the graph takes them after the observations, and
    gives the next ones last."""
    frames: int = 0
    """Length of the frame stack, the first axis of the observation; 0 for none."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings of its training that the file tells, by name."""
    seed: int = 0
    """The seed of its training; 0 where the file does not tell it."""
    environment_steps: int = 0
    """Environment steps of its training; 0 where the file does not tell them."""
    remedy_if_unscaled: str = ""
    """What its user should do where its continuous actions turn out not to be scaled to their bounds; "" where they are
    known to be."""
    notes: tuple[str, ...] = ()
    """What its user should know, a sentence each."""
