"""The ONNX graph of a policy version, loaded. The only module that imports onnxruntime."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime as ort
from google.protobuf import json_format
from numpy.typing import NDArray

from polserve.protos.graphs.check import check_model
from polserve.protos.graphs.limits import GraphRefused
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import ACTION, MODEL_FILE, NEXT, OBSERVATION, SCHEMA_VERSION, SPEC_KEY, VALUES
from polserve.serving.errors import RolloutRefused, one_line
from polserve.serving.policy.memory import Memory

_ORT_TYPES = {
    "tensor(float)": pb.FLOAT32,
    "tensor(double)": pb.FLOAT64,
    "tensor(uint8)": pb.UINT8,
    "tensor(int32)": pb.INT32,
    "tensor(int64)": pb.INT64,
    "tensor(bool)": pb.BOOL,
}
_UNLOADABLE = f"{MODEL_FILE} cannot be loaded as one self-contained ONNX graph"


class Graph:
    """A loaded graph with the spec in its metadata; `run` may be called from several threads at once."""

    def __init__(self, model: bytes, *, is_checked: bool = False) -> None:
        """Load a graph, and check that it is what its spec says; `is_checked` where the very bytes were before.

        Raises:
            RolloutRefused: the bytes are no policy version.
        """
        self._session = _session(model, is_checked=is_checked)
        self._options = ort.RunOptions()
        try:
            self.spec = _spec(self._session)
            self.memory = Memory.of(self.spec)
            """What it remembers from one observation to the next; None where it is not recurrent."""
            self.has_values = _check_graph(self._session, self.spec, self.memory)
        except UnicodeDecodeError as error:  # ONNX Runtime hands names out as they are
            raise RolloutRefused(f"{MODEL_FILE}: expected names in UTF-8, got {error.object[:40]!r}") from error
        remembered = [] if self.memory is None else self.memory.next_names
        self.names = {
            False: [ACTION, *remembered],
            True: [ACTION, VALUES, *remembered] if self.has_values else [ACTION, *remembered],
        }
        """Outputs of a run, by whether the values are wanted; a graph that has none leaves them out."""

    def run(self, outputs: Sequence[str], rows: NDArray[Any]) -> list[NDArray[Any]]:
        """Run the graph on observations (n, *shape), or on rows with memories; return its outputs of these names."""
        inputs = {OBSERVATION: rows} if self.memory is None else self.memory.inputs(rows)
        given: list[NDArray[Any]] = self._session.run(outputs, inputs, self._options)
        return given

    def stop(self) -> None:
        """Have every run end with an error before its next operator, until `resume`; for any thread."""
        self._options.terminate = True

    def resume(self) -> None:
        """Let runs go on to their end again."""
        self._options.terminate = False


def _session(model: bytes, *, is_checked: bool) -> ort.InferenceSession:
    """Load a model that was checked first: ONNX Runtime is native code, and never sees the bytes of another.

    Raises:
        RolloutRefused: it is none, or none that a service runs.
    """
    try:
        if not is_checked:
            check_model(model)
    except GraphRefused as refusal:
        raise RolloutRefused(f"{_UNLOADABLE}: {refusal}") from refusal
    options = ort.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ONNX")  # whatever the bytes look like
    # One thread: these networks are small, and several threads are slower and burn CPU (onnxruntime#16304, #14018).
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # the arena keeps for good what the largest run took, and is no faster
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated classes for a bad file
        raise RolloutRefused(f"{_UNLOADABLE}: {one_line(error)}") from error
    session.disable_fallback()
    session._model_bytes = None  # noqa: SLF001 - kept only to begin anew with another provider, and as large as the model
    return session


def _spec(session: ort.InferenceSession) -> pb.PolicySpec:
    text = session.get_modelmeta().custom_metadata_map.get(SPEC_KEY)
    if text is None:
        raise RolloutRefused(
            f"{MODEL_FILE} has no metadata {SPEC_KEY!r}; make a version of it with `polserve import onnx`"
        )
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


def _check_graph(session: ort.InferenceSession, spec: pb.PolicySpec, memory: Memory | None) -> bool:
    """Raise RolloutRefused where the graph is not what its spec says; return whether it answers with values."""
    inputs = session.get_inputs()
    outputs = {node.name: node for node in session.get_outputs()}
    names = () if memory is None else memory.names
    if [node.name for node in inputs[:1]] != [OBSERVATION] or ACTION not in outputs:
        raise RolloutRefused(
            "the graph must have one input 'observation' and an output 'action', got "
            f"{[node.name for node in inputs]} and {list(outputs)}"
        )
    if sorted(node.name for node in inputs[1:]) != sorted(names):
        raise RolloutRefused(
            "the graph must have one input 'observation' and the states of its spec "
            f"({', '.join(names) or 'none'}), got {[node.name for node in inputs]}"
        )
    if memory is not None:
        _check_states(inputs[1:], outputs, memory)
    graph = (_ORT_TYPES.get(inputs[0].type), tuple(inputs[0].shape[1:]))
    stated = (spec.observation.dtype, tuple(spec.observation.shape))
    if graph != stated:
        raise RolloutRefused(f"the graph takes {inputs[0].type} {graph[1]}, its spec says {stated}")
    if not inputs[0].shape or isinstance(inputs[0].shape[0], int):
        raise RolloutRefused(f"axis 0 of the observation must be dynamic, the shape is {inputs[0].shape}")
    if spec.action.WhichOneof("space") is None:
        raise RolloutRefused(f"{SPEC_KEY} has no action space")
    return VALUES in outputs


def _check_states(inputs: Sequence[Any], outputs: Mapping[str, Any], memory: Memory) -> None:
    """Raise RolloutRefused where the graph's states are not those of its spec."""
    given = {node.name: node for node in inputs}
    for name, shape in zip(memory.names, memory.shapes, strict=True):
        for node in (given[name], outputs.get(NEXT + name)):
            if node is None:
                raise RolloutRefused(f"the graph must have an output {NEXT + name!r}, the next of its state {name!r}")
            if (node.type, tuple(node.shape[1:])) != ("tensor(float)", shape) or isinstance(node.shape[0], int):
                stated = f"tensor(float) {('N', *shape)}".replace("'", "")
                raise RolloutRefused(
                    f"state {node.name}: the graph has {node.type} {node.shape}, its spec says {stated}"
                )
