"""A policy version in memory, and how it answers."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.choices import Choices
from polserve.protos.shared.names import MODEL_FILE, SHA256_TAG, SPEC_KEY, VALUES
from polserve.serving.allocation import AllocationContract
from polserve.serving.errors import DROPPED, Expired, InvalidRequest, RolloutRefused, one_line
from polserve.serving.policy.graph import Graph
from polserve.serving.policy.memory import Memory, read_token, write_token
from polserve.serving.policy.observations import ObservationContract, cut_into_parts, is_one_part
from polserve.serving.versions import UNMEASURED, Pace, VersionRef

FloatArray: TypeAlias = NDArray[np.float32]


class Answer(NamedTuple):
    """What a policy says to n observations."""

    actions: NDArray[Any]  # (n,) or (n, *shape) int64, or (n, *shape) float32
    values: FloatArray | None = None  # (n, a)
    explored: NDArray[np.bool_] | None = None  # (n,)
    """For which observations the action was drawn at random; None where none could be."""
    memories: FloatArray | None = None  # (n, size)
    """What a recurrent policy remembers for the next observation of each; None for any other."""


@dataclass(frozen=True, eq=False)
class Policy:
    """A loaded version, which never changes; `act` may be called from several threads at once."""

    name: str
    version: str
    sha256: str
    """Checksum of its model.onnx, hexadecimal."""
    spec: pb.PolicySpec
    observation: ObservationContract
    choices: Choices | None
    """What an action may be, where it is made of whole numbers; None where it is continuous."""
    n_actions: int | None
    """The number of actions, where an action is one whole number; None where it is more, or continuous."""
    first_action: int
    """The least action, where an action is one whole number."""
    action_shape: tuple[int, ...]
    """Shape of one action."""
    components: tuple[str, ...]
    """Names of an action's components; empty where it is one whole number."""
    memory: Memory | None
    """What it remembers from one observation to the next; None where it is not recurrent."""
    allocation: AllocationContract | None
    """What it takes and gives as an allocator of budgets; None where it is none."""
    pace: Pace
    """How long it takes on this machine, as it was measured by whoever validated it."""
    _graph: Graph = field(repr=False)

    @property
    def has_values(self) -> bool:
        """Whether it answers with values, too, where they are asked for."""
        return self._graph.has_values

    @classmethod
    def of_model(cls, name: str, version: str, model: bytes, pace: Pace = UNMEASURED) -> Self:
        """Build a policy from the bytes of a model.onnx.

        Raises:
            RolloutRefused: the bytes are no policy version.
        """
        return cls._of_graph(name, version, hashlib.sha256(model).hexdigest(), Graph(model), pace)

    @classmethod
    def _of_graph(cls, name: str, version: str, sha256: str, graph: Graph, pace: Pace) -> Self:
        """Build a policy from its graph; raise RolloutRefused where the spec contradicts itself."""
        spec = graph.spec
        choices = _choices(spec.action)
        return cls(
            name=name,
            version=version,
            sha256=sha256,
            spec=spec,
            observation=ObservationContract.of(spec.observation),
            choices=choices,
            n_actions=spec.action.discrete.n if spec.action.WhichOneof("space") == "discrete" else None,
            first_action=spec.action.discrete.start,
            action_shape=_action_shape(spec.action) if choices is None else choices.shape,
            components=_components(spec.action),
            memory=graph.memory,
            allocation=AllocationContract(spec) if spec.HasField("allocation") else None,
            pace=pace,
            _graph=graph,
        )

    @classmethod
    def load(cls, name: str, version: str, folder: Path, pace: Pace = UNMEASURED) -> Self:
        """Load the version in `folder`, which holds model.onnx.

        Raises:
            RolloutRefused: there is no such file, or it is no policy version.
        """
        return cls.of_model(name, version, _read_model(folder), pace)

    @classmethod
    def load_registered(cls, ref: VersionRef, pace: Pace = UNMEASURED, *, is_accepted: bool = False) -> Self:
        """Load a version and warm it up, so that its first call takes no longer than the others.

        What the validator accepted (`is_accepted`) is known by its checksum, and not looked at again.

        Raises:
            RolloutRefused: it is not the file that was registered, no policy version, or cannot answer.
        """
        model = _read_model(ref.folder)
        sha256 = hashlib.sha256(model).hexdigest()
        if sha256 != ref.sha256:
            wanted = ref.sha256 or f"a tag {SHA256_TAG}"
            raise RolloutRefused(f"sha256 of {MODEL_FILE}: expected {wanted}, got {sha256}")
        policy = cls._of_graph(ref.policy, ref.version, sha256, Graph(model, is_checked=is_accepted), pace)
        try:
            policy.act(policy.zeros(1))
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            raise RolloutRefused(f"an observation of zeros cannot be answered: {one_line(error)}") from error
        return policy

    def remembering(self, observations: NDArray[Any], token: bytes) -> NDArray[Any]:
        """Return checked observations (n, *shape) as the policy takes them, with what a client carried of before.

        Raises:
            InvalidRequest: it is not what this version answered with.
        """
        if self.memory is None:
            if token:
                got = f"{len(token)} bytes"
                raise InvalidRequest("state", f"none: {self.name}/{self.version} remembers nothing", got)
            return observations
        memories = read_token(self.memory, f"{self.name}/{self.version}", self.sha256, token, len(observations))
        return self.memory.rows(observations, memories)

    def token(self, answer: Answer) -> bytes:
        """Return what a client carries to the next observation; empty where the policy is not recurrent."""
        return b"" if answer.memories is None else write_token(self.sha256, answer.memories)

    def zeros(self, n: int) -> NDArray[Any]:
        """Observations (n, *shape) to warm up and to time with: of zeros, and of the least value of each category."""
        zeros = np.zeros((n, *self.observation.shape), self.observation.dtype)
        categories = self.observation.categories
        if categories is not None:
            zeros.reshape(n, -1)[:, categories.columns] = categories.low
        return zeros

    def act(
        self,
        observations: NDArray[Any],
        *,
        with_values: bool = False,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """Answer observations with greedy actions, and with values where they are asked for and there are any.

        Args:
            observations: (n, *shape) of the spec's dtype; of a recurrent policy, rows with memories (`Memory.rows`), or
                without them where episodes begin. ONNX Runtime gets many of them in parts, whose results between
                the layers stay small and in the processor's caches.
            with_values: whether the values are wanted.
            is_wanted: asked before each part but the first.

        Raises:
            Expired: nobody wanted the answer any more.
        """
        names = self._graph.names[with_values]
        if is_one_part(observations):
            return self._answer(names, self._graph.run(names, observations))
        whole: list[NDArray[Any]] = []
        for part in cut_into_parts(observations):
            if whole and not is_wanted():
                raise Expired(DROPPED)
            outputs = self._graph.run(names, observations[part])
            whole = whole or [np.empty((len(observations), *output.shape[1:]), output.dtype) for output in outputs]
            for target, output in zip(whole, outputs, strict=True):
                target[part] = output
        return self._answer(names, whole)

    def stop(self) -> None:
        """Have every run end with an error before its next operator, until `resume`; for any thread."""
        self._graph.stop()

    def resume(self) -> None:
        """Let runs go on to their end again."""
        self._graph.resume()

    def _answer(self, names: Sequence[str], outputs: Sequence[NDArray[Any]]) -> Answer:
        """Return the answer that the graph's outputs of these names are."""
        if self.memory is None:
            return Answer(*outputs)
        n_next = len(self.memory.names)
        values = outputs[1] if VALUES in names else None
        return Answer(outputs[0], values, None, self.memory.joined(outputs[-n_next:]))


def _read_model(folder: Path) -> bytes:
    path = folder / MODEL_FILE
    try:
        return path.read_bytes()
    except OSError as error:
        raise RolloutRefused(f"{path} cannot be read: {error.strerror}") from error


def _choices(action: pb.ActionSpec) -> Choices | None:
    try:
        return Choices.of(action)
    except ValueError as error:
        raise RolloutRefused(f"{SPEC_KEY}: {error}") from error


def _action_shape(action: pb.ActionSpec) -> tuple[int, ...]:
    """Shape of one continuous action."""
    n, shape = len(action.continuous.low), tuple(action.continuous.shape)
    if shape and prod(shape) != n:
        raise RolloutRefused(f"{SPEC_KEY}: action.continuous has the shape {shape}, expected one of {n} components")
    return shape or (n,)


def _components(action: pb.ActionSpec) -> tuple[str, ...]:
    if action.WhichOneof("space") == "multi_discrete":
        n, components = len(action.multi_discrete.n), action.multi_discrete.components
    else:
        n, components = len(action.continuous.low), action.continuous.components
    return tuple(components[i].name if i < len(components) else str(i) for i in range(n))
