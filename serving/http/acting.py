"""A question in JSON as an ActRequest, and an ActResponse in JSON."""

import base64
import binascii
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.layout import Layout, PartError
from polserve.protos.tensors import TensorError, cast, to_array, to_tensor
from polserve.serving.errors import InvalidRequest, UnknownVersion
from polserve.serving.http.strict_json import as_text, dump, numbers, parse_object, shown

FIELDS = ("observation", "version", "with_values", "epsilon", "state")
"""What a question may say."""
SMALL_RESPONSE_BYTES = 256
"""Length up to which responses are kept with their JSON: those of discrete policies are often the same."""

DtypeOf: TypeAlias = Callable[[str, str], "np.dtype[Any] | None"]
"""What says which dtype the observations of a version have, by policy and version."""


@dataclass(slots=True)
class Asked:
    """A question, as far as it is known without the spec of the version that answers."""

    request: pb.ActRequest
    in_parts: Any = None
    """The observation, where only the spec says how it is laid out; None where the request holds it."""


def read_question(policy: str, body: bytes, dtype_of: DtypeOf) -> Asked:
    """Return what a body asks of a policy; numbers in the policy's dtype where that is known and holds them.

    Raises:
        InvalidRequest: it is not what a question may be.
    """
    said = parse_object(body)
    if unknown := [name for name in said if name not in FIELDS]:
        raise InvalidRequest("body", f"the fields {', '.join(FIELDS)}", shown(unknown[0]))
    request = pb.ActRequest(policy=policy)
    _read_options(said, request)
    observation = said.get("observation")
    if observation is None:
        raise InvalidRequest("observation", "numbers: one observation, or a list of them", "none")
    if _is_in_parts(observation):
        return Asked(request, observation)
    try:
        array = numbers(observation, "observation")
    except InvalidRequest:
        if not _is_uneven(observation):
            raise
        return Asked(request, observation)  # such as the parts of a Tuple
    request.observation.CopyFrom(to_tensor(_as(array, dtype_of(policy, request.version))))
    return Asked(request)


def lay_out(asked: Asked, live: pb.LivePolicy) -> None:
    """Put the observation into the request, by the spec of the version that answers, which it then names.

    Raises:
        InvalidRequest: the observation is not laid out as that says.
        UnknownVersion: no version answers to what the request names.
    """
    version = _answering(asked.request.version, live)
    asked.request.version = version.version
    layout = Layout.of(version.spec.observation)
    if layout is None or not layout.is_composite:
        array = numbers(asked.in_parts, "observation")  # which says what is wrong
    else:
        array = _flatten(layout, asked.in_parts)
    asked.request.observation.CopyFrom(to_tensor(array))


def answer_json(response: bytes) -> bytes:
    """Return a serialised ActResponse as JSON."""
    return _known_json(response) if len(response) <= SMALL_RESPONSE_BYTES else _json(response)


def _json(response: bytes) -> bytes:
    answer = pb.ActResponse.FromString(response)
    said: dict[str, Any] = {
        "policy": answer.policy,
        "version": answer.version,
        "action": to_array(answer.action).tolist(),
    }
    if answer.HasField("values"):
        said["values"] = to_array(answer.values).tolist()
    if answer.explored:
        said["explored"] = list(answer.explored)
    if answer.state:
        said["state"] = base64.b64encode(answer.state).decode()
    return dump(said)


_known_json = functools.lru_cache(4096)(_json)


def _read_options(said: Mapping[str, Any], request: pb.ActRequest) -> None:
    """Put everything but the observation into the request; raises InvalidRequest."""
    version = said.get("version", "")
    if isinstance(version, bool) or not isinstance(version, (str, int)):
        raise InvalidRequest("version", 'a version such as "7", or an alias such as "@champion"', shown(version))
    version = as_text("version", str(version))
    with_values = said.get("with_values", False)
    if not isinstance(with_values, bool):
        raise InvalidRequest("with_values", "true or false", shown(with_values))
    epsilon = said.get("epsilon", 0.0)
    if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)) or not 0 <= epsilon <= 1:
        raise InvalidRequest("epsilon", "a probability from 0 to 1", shown(epsilon))
    state = said.get("state", "")
    try:
        request.state = base64.b64decode(state, validate=True) if state else b""
    except (TypeError, ValueError, binascii.Error):
        raise InvalidRequest("state", "the state of the answer before, as it was given", shown(state)) from None
    request.version, request.with_values, request.epsilon = version, with_values, epsilon


def _as(array: NDArray[Any], dtype: "np.dtype[Any] | None") -> NDArray[Any]:
    """Return numbers in the dtype in which like calls are answered together, or as they are where it does not fit."""
    if dtype is None or array.dtype == dtype:
        return array
    try:
        return cast(array, dtype)
    except TensorError:  # whoever answers says what is wrong
        return array


def _is_in_parts(observation: object) -> bool:
    if isinstance(observation, list):
        return any(isinstance(item, dict) for item in observation)
    return isinstance(observation, dict)


def _is_uneven(observation: object) -> bool:
    """Whether a list holds lists of different lengths or depths, as the parts of a Tuple may be."""
    return isinstance(observation, list) and any(isinstance(item, list) for item in observation)


def _answering(asked: str, live: pb.LivePolicy) -> pb.LiveVersion:
    number = live.aliases.get(asked[1:], "") if asked.startswith("@") else asked or live.default_version
    for version in live.versions:
        if version.version == number:
            return version
    raise UnknownVersion(live.name, asked, [version.version for version in live.versions], live.aliases)


def _flatten(layout: Layout, observation: object) -> NDArray[Any]:
    """Return one observation in parts, a batch in each part, or a list of observations, as one array."""
    if not isinstance(observation, list) or layout.is_tuple:
        return _flatten_one(layout, observation, "observation")
    each = [_flatten_one(layout, one, f"observation[{i}]") for i, one in enumerate(observation)]
    if any(one.shape != layout.shape for one in each):
        raise InvalidRequest("observation", "a list of observations, or a batch in each part", "both")
    return np.stack(each)


def _flatten_one(layout: Layout, observation: object, field: str) -> NDArray[Any]:
    try:
        return layout.flatten(observation, numbers, field)
    except (PartError, TensorError) as error:
        raise InvalidRequest(getattr(error, "part", field), error.expected, error.got) from error
