"""The messages of ModelInfer, for the handler that answers observations with actions."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.protos.shared.names import ACTION, OBSERVATION, VALUES
from polserve.protos.tensors import MOST_AXES
from polserve.serving.errors import InvalidRequest
from polserve.serving.handlers.codec import parse
from polserve.serving.handlers.dialect import Asked, CallsAlike
from polserve.serving.handlers.oip.models import EXPLORED, describe_outputs
from polserve.serving.handlers.oip.parameters import (
    EPSILON,
    SEQUENCE_ID,
    Value,
    check_alone,
    check_offered,
    number,
    read_parameters,
    sequence_id,
)
from polserve.serving.handlers.oip.tensors import NAMES, TENSOR_CODES, pack_contents, read_tensor
from polserve.serving.handlers.oip.wire import RAW_OUTPUT, field_head
from polserve.serving.policy import Answer, Policy
from polserve.serving.policy.memory import Memory

MOST_TENSORS = 256
"""Inputs of a request, at most, and outputs: a message has room for hundreds of thousands."""
MOST_HEADS = 256
"""Beginnings of answers that are kept of a version, at most."""


class InferForm(NamedTuple):
    """What of a request decides the form of its answer."""

    outputs: tuple[str, ...]
    is_batch: bool


class OfSequence(InvalidRequest):
    """A request belongs to a sequence, which is answered by itself."""

    def __init__(self, request: pb.ModelInferRequest, parameters: Mapping[str, Value]) -> None:
        """Keep what was read of it; the text is for a request that is too large to be one of a sequence."""
        expected = "no sequence in a large ModelInferRequest; play it on ModelStreamInfer"
        super().__init__(f"parameters.{SEQUENCE_ID}", expected, repr(parameters[SEQUENCE_ID])[:80])
        self.request = request
        self.parameters = parameters


class InferDialect:
    """ModelInferRequest and ModelInferResponse."""

    def __init__(self) -> None:
        self._outputs = weakref.WeakKeyDictionary[Policy, tuple[str, ...]]()
        """Names of a version's outputs."""
        self._heads = weakref.WeakKeyDictionary[Policy, dict[tuple[InferForm, int], bytes]]()
        """The serialised response but for its contents, by version, form and number of observations."""

    def read(self, message: bytes) -> Asked[pb.ModelInferRequest]:
        """Read a request that belongs to no sequence.

        Raises:
            InvalidRequest: it cannot be answered.
            OfSequence: it belongs to one.
        """
        request = parse(pb.ModelInferRequest, message)
        if not request.parameters:
            return self.asked(request, {})
        parameters = read_parameters(request.parameters)
        if sequence_id(parameters) is not None:
            raise OfSequence(request, parameters)
        check_alone(parameters)
        return self.asked(request, parameters)

    def asked(self, request: pb.ModelInferRequest, parameters: Mapping[str, Value]) -> Asked[pb.ModelInferRequest]:
        """Return what a request asks; raises InvalidRequest."""
        check_contents(request)
        outputs = _outputs(request) if request.outputs else ()
        dtype, shape, data = _observation(request)
        alike = CallsAlike(
            request.model_name,
            request.model_version,
            not outputs or VALUES in outputs,
            (number(parameters, EPSILON) or 0.0) if parameters else 0.0,
            dtype,
            shape,
            len(data),
            len(request.inputs) != 1,
            outputs,
        )
        ending = pb.ModelInferResponse(id=request.id).SerializeToString() if request.id else b""
        return Asked(alike, request, data, ending)

    def rows(self, asked: Asked[pb.ModelInferRequest], policy: Policy) -> NDArray[Any]:
        """Return its observations as the policy takes them, with states where they came; raises InvalidRequest."""
        arrays = read_inputs(asked.request, (OBSERVATION, *(() if policy.memory is None else policy.memory.names)))
        observations = policy.observation.check(arrays.pop(OBSERVATION))
        if policy.memory is None:
            return observations
        if not arrays:
            return policy.remembering(observations, b"")
        return policy.memory.rows(observations, _memories(policy.memory, arrays, len(observations)))

    def form(self, asked: Asked[pb.ModelInferRequest], policy: Policy) -> InferForm:
        """Return the form of its answer; raises InvalidRequest where it names an output that is none."""
        known = self._outputs.get(policy)
        if known is None:
            known = self._outputs[policy] = tuple(output.name for output in describe_outputs(policy))
        wanted, alike = asked.alike.outputs, asked.alike
        offered = known if policy.choices is None else (*known, EXPLORED)
        for name in wanted:
            if name not in offered:
                raise InvalidRequest("outputs", f"some of {', '.join(offered)}", repr(name)[:80])
            if wanted.count(name) > 1:
                raise InvalidRequest("outputs", "each output once", f"{name!r} {wanted.count(name)} times")
        if not wanted:
            wanted = offered if alike.epsilon else known
        return InferForm(wanted, _n_axes(asked.request) > len(policy.observation.shape))

    def encode(self, form: InferForm, policy: Policy, answer: Answer) -> bytes:
        """Serialise an answer, but for the request's id; contents are always raw."""
        (response,) = self.encode_each(form, policy, answer, len(answer.actions))
        return response

    def encode_each(self, form: InferForm, policy: Policy, answer: Answer, each: int) -> list[bytes]:
        """Serialise the answers of several calls, each to so many observations of those that `answer` is to."""
        n = len(answer.actions)
        arrays = output_arrays_of(form.outputs, policy, answer)
        responses = [self._head(form, policy, {name: array[:each] for name, array in arrays.items()})] * (n // each)
        for array in arrays.values():
            raw = array.tobytes()
            size = len(raw) * each // n
            head = field_head(RAW_OUTPUT, size)
            responses = [one + head + raw[i * size : (i + 1) * size] for i, one in enumerate(responses)]
        return responses

    def _head(self, form: InferForm, policy: Policy, arrays: Mapping[str, NDArray[Any]]) -> bytes:
        """Return the serialised response but for its contents, to the observations of one call."""
        heads = self._heads.get(policy)
        if heads is None or len(heads) > MOST_HEADS:
            heads = self._heads[policy] = {}
        key = (form, len(next(iter(arrays.values()))))
        head = heads.get(key)
        if head is None:
            head = heads[key] = _encode_head(form, policy, arrays)
        return head


def check_contents(request: pb.ModelInferRequest) -> None:
    """Return if every input has its numbers in one of the two places, and asks for nothing that is not offered.

    Raises:
        InvalidRequest: they are in both, some are missing, or are to come from elsewhere.
    """
    n_raw, inputs = len(request.raw_input_contents), request.inputs
    if len(inputs) > MOST_TENSORS or len(request.outputs) > MOST_TENSORS:
        field, n = max(("inputs", len(inputs)), ("outputs", len(request.outputs)), key=lambda counted: counted[1])
        raise InvalidRequest(field, f"at most {MOST_TENSORS}", str(n))
    for tensor in inputs:
        if tensor.parameters:
            check_offered(f"inputs[{tensor.name!r}]", tensor.parameters)
        if n_raw and tensor.HasField("contents"):
            raise InvalidRequest(
                f"inputs[{tensor.name!r}].contents",
                "one of the two forms: contents field must not be specified when using raw_input_contents for "
                f"{tensor.name!r} for model {request.model_name!r}",
                "both",
            )
    if n_raw and n_raw != len(inputs):
        raise InvalidRequest("raw_input_contents", f"{len(inputs)}, one for each input, or none", str(n_raw))


def read_inputs(request: pb.ModelInferRequest, known: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of all inputs by name, the observation among them.

    Raises:
        InvalidRequest: one is none of the known ones, comes twice, or is no tensor; or the observation is missing.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for i, tensor in enumerate(request.inputs):
        if tensor.name not in known or tensor.name in arrays:
            expected = f"{', '.join(known)}, and each once"
            raise InvalidRequest("inputs", expected, f"{tensor.name!r}{' twice' if tensor.name in known else ''}")
        arrays[tensor.name] = read_tensor(tensor, _raw(request, i))
    if OBSERVATION not in arrays:
        raise InvalidRequest("inputs", f"an input {OBSERVATION!r}", f"{', '.join(arrays) or 'none'}")
    return arrays


def output_arrays_of(names: tuple[str, ...], policy: Policy, answer: Answer) -> dict[str, NDArray[Any]]:
    """Return the outputs of these names, each with the batch as its first axis."""
    arrays: dict[str, NDArray[Any]] = {ACTION: answer.actions}
    if answer.values is not None:
        arrays[VALUES] = answer.values
    if policy.memory is not None and answer.memories is not None:
        nexts = policy.memory.by_name(answer.memories).values()
        arrays.update(zip(policy.memory.next_names, nexts, strict=True))
    if EXPLORED in names:
        arrays[EXPLORED] = np.zeros(len(answer.actions), np.bool_) if answer.explored is None else answer.explored
    return {name: arrays[name] for name in names}


def _encode_head(form: InferForm, policy: Policy, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    tensor = pb.ModelInferResponse.InferOutputTensor
    outputs = [
        tensor(name=name, datatype=NAMES[array.dtype], shape=array.shape if form.is_batch else array.shape[1:])
        for name, array in arrays.items()
    ]
    response = pb.ModelInferResponse(model_name=policy.name, model_version=policy.version, outputs=outputs)
    return response.SerializeToString()


def _observation(request: pb.ModelInferRequest) -> tuple[int, tuple[int, ...], bytes]:
    """Return dtype, shape and data of an observation that is all of a request, as those of a `Tensor`.

    The dtype is 0 where the request is to be looked at by itself.
    """
    inputs = request.inputs
    if len(inputs) != 1:
        return 0, (), b""
    tensor = inputs[0]
    code = TENSOR_CODES.get(tensor.datatype, 0)
    shape = tensor.shape
    if not code or len(shape) > MOST_AXES or tensor.name != OBSERVATION:
        return 0, (), b""
    raw = request.raw_input_contents
    return code, tuple(shape[:]), raw[0] if raw else pack_contents(tensor)


def _outputs(request: pb.ModelInferRequest) -> tuple[str, ...]:
    """Return the names of the outputs that a request wants; raises InvalidRequest where it wants more than numbers."""
    for output in request.outputs:
        if output.parameters:
            check_offered(f"outputs[{output.name!r}]", output.parameters)
    return tuple(output.name for output in request.outputs)


def _raw(request: pb.ModelInferRequest, i: int) -> bytes | None:
    return request.raw_input_contents[i] if request.raw_input_contents else None


def _n_axes(request: pb.ModelInferRequest) -> int:
    """Count the axes of a request's observation."""
    return next(len(tensor.shape) for tensor in request.inputs if tensor.name == OBSERVATION)


def _memories(memory: Memory, states: Mapping[str, NDArray[Any]], n: int) -> NDArray[np.float32]:
    """Return memories (n, size) of the states that a request gave; raises InvalidRequest where they are none."""
    if missing := set(memory.names) - states.keys():
        raise InvalidRequest("inputs", "all states or none of them", f"no {', '.join(sorted(missing))}")
    arrays = {}
    for name, shape in zip(memory.names, memory.shapes, strict=True):
        given = states[name]
        expected = (n, *shape)
        if given.shape != expected and (n != 1 or given.shape != shape):
            raise InvalidRequest(f"inputs[{name!r}].shape", str(list(expected)), str(list(given.shape)))
        if given.dtype != np.float32:
            raise InvalidRequest(f"inputs[{name!r}].datatype", "FP32", NAMES[given.dtype])
        if not np.isfinite(given).all():
            raise InvalidRequest(f"inputs[{name!r}]", "finite numbers", "some that are not")
        arrays[name] = given.reshape(expected)
    return memory.of_arrays(arrays)
