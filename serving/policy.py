"""A policy version in memory: its spec, and ONNX Runtime to answer with. The only module that imports onnxruntime."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from google.protobuf import json_format
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import ACTION, MODEL_FILE, OBSERVATION, SCHEMA_VERSION, SPEC_KEY, VALUES
from polserve.protos.tensors import DTYPES, TensorError, cast
from polserve.serving.allocation import AllocationContract
from polserve.serving.errors import DROPPED, Expired, InvalidRequest, RolloutRefused, one_line

FloatArray: TypeAlias = NDArray[np.float32]

PART_ROWS = 1024
"""Observations that go to ONNX Runtime at once, at most: what a run takes beside them grows with their number."""
PART_BYTES = 2 * 2**20
"""The same in bytes, for large observations; one always goes."""

_ORT_TYPES = {
    "tensor(float)": pb.FLOAT32,
    "tensor(double)": pb.FLOAT64,
    "tensor(uint8)": pb.UINT8,
    "tensor(int32)": pb.INT32,
    "tensor(int64)": pb.INT64,
    "tensor(bool)": pb.BOOL,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy says to n observations."""

    actions: NDArray[Any]  # (n,) int64, or (n, k) float32
    values: FloatArray | None = None  # (n, a)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a version takes on this machine, and whether its calls are answered in batches."""

    alone_s: float
    """For one observation."""
    in_batch_s: float
    """For each observation of a batch."""
    is_batched: bool = False

    def seconds(self, n: int) -> float:
        """About how long the model takes for n observations at once."""
        return self.alone_s + (n - 1) * self.in_batch_s


@dataclass(frozen=True, slots=True)
class ObservationContract:
    """What an observation must be, compiled from the spec."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    low: NDArray[np.float64] | None
    """Lowest values, broadcast to the shape; None where the bounds are not hard."""
    high: NDArray[np.float64] | None

    @classmethod
    def of(cls, spec: pb.ObservationSpec) -> "ObservationContract":
        """The contract that a spec states.

        Raises:
            RolloutRefused: the bounds do not fit the shape, or there is no dtype.
        """
        shape = tuple(spec.shape)
        if spec.dtype not in DTYPES:
            raise RolloutRefused(f"{SPEC_KEY}: observation.dtype is {spec.dtype}, which is none of the known types")
        low, high = (_bound(name, values, shape) for name, values in (("low", spec.low), ("high", spec.high)))
        if not spec.is_bounded:
            low = high = None
        return cls(DTYPES[spec.dtype], shape, low, high)

    def of_frame(self) -> "ObservationContract":
        """The contract of one frame, where the first axis of the shape is a stack of them."""
        low, high = (bound if bound is None else bound[-1] for bound in (self.low, self.high))
        return ObservationContract(self.dtype, self.shape[1:], low, high)

    def check(self, observation: NDArray[Any]) -> NDArray[Any]:
        """The observations as a batch (n, *shape) of the policy's dtype, n at least 1, finite and within hard bounds.

        Numbers of another dtype are taken where the policy's holds them: floats are rounded to the nearest.

        Raises:
            InvalidRequest: they are not.
        """
        if observation.shape[-len(self.shape) or observation.ndim :] != self.shape or observation.ndim not in (
            len(self.shape),
            len(self.shape) + 1,
        ):
            expected = f"{self.shape} or {('N', *self.shape)}".replace("'", "")
            raise InvalidRequest("observation.shape", expected, str(observation.shape))
        if observation.shape[0:1] == (0,):
            raise InvalidRequest("observation.shape", "at least one observation", str(observation.shape))
        try:
            observation = cast(observation, self.dtype)
        except TensorError as error:
            raise InvalidRequest("observation", error.expected, error.got) from error
        batch = observation.reshape(-1, *self.shape)
        is_batch = observation.ndim > len(self.shape)
        for part in _parts(batch):
            self._check_values(batch[part], part.start if is_batch else None)
        return batch

    def _check_values(self, rows: NDArray[Any], first: int | None) -> None:
        """Raise InvalidRequest where a value may not be; `first` is the number of the first row in a batch."""
        if rows.dtype.kind == "f" and not np.isfinite(rows).all():
            index = _first(~np.isfinite(rows))
            raise InvalidRequest("observation", "finite numbers", f"{rows[index]} at {_place(index, first)}")
        if self.low is None or self.high is None:
            return
        is_outside = (rows < self.low) | (rows > self.high)
        if is_outside.any():
            index = _first(is_outside)
            bounds = f"{self.low[index[1:]]} to {self.high[index[1:]]}"
            raise InvalidRequest("observation", f"values within {bounds}", f"{rows[index]} at {_place(index, first)}")


class Policy:
    """A loaded version; `act` may be called from several threads at once."""

    def __init__(self, name: str, version: str, model: bytes) -> None:
        """Build the session.

        Raises:
            RolloutRefused: the bytes are no policy version.
        """
        self.name = name
        self.version = version
        self.sha256 = hashlib.sha256(model).hexdigest()
        self._session = _session(model)
        self.spec = _spec(self._session)
        self.observation = ObservationContract.of(self.spec.observation)
        self.pace = Pace(0.0, 0.0)
        """Measured by the rollout, before the version goes live."""
        self._has_values = _check_graph(self._session, self.spec)
        space = self.spec.action.WhichOneof("space")
        self.n_actions = self.spec.action.discrete.n if space == "discrete" else None
        """The number of actions, or None where they are continuous."""
        self.components = _components(self.spec.action.continuous)
        """Names of a continuous action's components; empty where the actions are discrete."""
        self.allocation = AllocationContract(self.spec) if self.spec.HasField("allocation") else None
        """What it asks and answers as an allocator of budgets; None where it is none."""

    @classmethod
    def load(cls, name: str, version: str, folder: Path) -> "Policy":
        """The version in `folder`, which holds model.onnx.

        Raises:
            RolloutRefused: there is no such file, or it is no policy version.
        """
        try:
            model = (folder / MODEL_FILE).read_bytes()
        except OSError as error:
            raise RolloutRefused(f"{folder / MODEL_FILE} cannot be read: {error.strerror}") from error
        return cls(name, version, model)

    def act(
        self,
        observations: NDArray[Any],
        *,
        with_values: bool = False,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """Greedy actions, and values where asked for and there are any.

        Args:
            observations: (n, *shape) of the spec's dtype. ONNX Runtime gets many of them in parts, since it keeps for
                good the memory that its largest run took.
            with_values: whether the values are wanted.
            is_wanted: asked before each part but the first.

        Raises:
            Expired: nobody wanted the answer any more.
        """
        names = [ACTION, VALUES] if with_values and self._has_values else [ACTION]
        parts = list(_parts(observations))
        if len(parts) == 1:
            return Answer(*self._session.run(names, {OBSERVATION: observations}))
        whole: list[NDArray[Any]] = []
        for part in parts:
            if whole and not is_wanted():
                raise Expired(DROPPED)
            outputs = self._session.run(names, {OBSERVATION: observations[part]})
            whole = whole or [np.empty((len(observations), *output.shape[1:]), output.dtype) for output in outputs]
            for target, output in zip(whole, outputs, strict=True):
                target[part] = output
        return Answer(*whole)


def _parts(rows: NDArray[Any]) -> Iterator[slice]:
    """The rows in parts that take a bounded amount of memory to work on."""
    size = max(1, min(PART_ROWS, PART_BYTES // max(1, rows[:1].nbytes)))
    return (slice(start, start + size) for start in range(0, len(rows), size))


def _first(is_bad: NDArray[np.bool_]) -> tuple[int, ...]:
    """Index of the first value that is true."""
    return tuple(int(i) for i in np.unravel_index(is_bad.argmax(), is_bad.shape))


def _place(index: tuple[int, ...], first: int | None) -> list[int]:
    """Where the client has the value at `index` of some rows: in its one observation, or in its batch."""
    return [*index[1:]] if first is None else [first + index[0], *index[1:]]


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # One thread: these networks are small, and several threads are slower and burn CPU (onnxruntime#16304, #14018).
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated classes for a bad file
        message = f"{MODEL_FILE} cannot be loaded as one self-contained ONNX graph: {one_line(error)}"
        raise RolloutRefused(message) from error


def _spec(session: ort.InferenceSession) -> pb.PolicySpec:
    text = session.get_modelmeta().custom_metadata_map.get(SPEC_KEY)
    if text is None:
        raise RolloutRefused(f"{MODEL_FILE} has no metadata {SPEC_KEY!r}; export it with polserve")
    try:
        spec = json_format.Parse(text, pb.PolicySpec(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise RolloutRefused(f"{SPEC_KEY} is no PolicySpec: {error}") from error
    if spec.schema_version != SCHEMA_VERSION:
        raise RolloutRefused(
            f"{SPEC_KEY} has schema version {spec.schema_version}, this server knows {SCHEMA_VERSION}; "
            "export the policy again or upgrade the server"
        )
    return spec


def _check_graph(session: ort.InferenceSession, spec: pb.PolicySpec) -> bool:
    """Raise where the graph is not what its spec says; return whether it answers with values."""
    inputs = session.get_inputs()
    outputs = {node.name: node for node in session.get_outputs()}
    if [node.name for node in inputs] != [OBSERVATION] or ACTION not in outputs:
        raise RolloutRefused(
            "the graph must have one input 'observation' and an output 'action', got "
            f"{[node.name for node in inputs]} and {list(outputs)}"
        )
    graph = (_ORT_TYPES.get(inputs[0].type), tuple(inputs[0].shape[1:]))
    stated = (spec.observation.dtype, tuple(spec.observation.shape))
    if graph != stated:
        raise RolloutRefused(f"the graph takes {inputs[0].type} {graph[1]}, its spec says {stated}")
    if not inputs[0].shape or isinstance(inputs[0].shape[0], int):
        raise RolloutRefused(f"axis 0 of the observation must be dynamic, the shape is {inputs[0].shape}")
    if spec.action.WhichOneof("space") is None:
        raise RolloutRefused(f"{SPEC_KEY} has no action space")
    return VALUES in outputs


def _components(space: pb.ContinuousActions) -> tuple[str, ...]:
    named = [component.name for component in space.components]
    return tuple(named[i] if i < len(named) else str(i) for i in range(len(space.low)))


def _bound(name: str, values: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    if not values:
        return None
    if len(values) not in (1, prod(shape)):
        raise RolloutRefused(f"{SPEC_KEY}: observation.{name} has {len(values)} values, expected 1 or {prod(shape)}")
    bound = np.asarray(values, np.float64)
    return np.broadcast_to(bound if len(values) == 1 else bound.reshape(shape), shape)
