"""Between messages and arrays, with errors that name the request's field."""

from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import TensorError, fill_tensor, to_array
from polserve.serving.catalog import CatalogEntry
from polserve.serving.errors import InvalidRequest
from polserve.serving.policy import Answer, ObservationContract, Policy

M = TypeVar("M", bound=Message)

SMALL_BYTES = 1 << 20
"""Largest message without an observation: parsed, it may take fifty times as much memory."""


def parse(kind: type[M], data: bytes) -> M:
    """Return the message that was sent, which may be as large as the transport takes it.

    Raises:
        InvalidRequest: it is none of this kind.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        expected = f"a serialised {kind.DESCRIPTOR.name}"
        raise InvalidRequest("message", expected, f"{len(data)} bytes that cannot be parsed as one") from error


def parse_small(kind: type[M], data: bytes) -> M:
    """Return the message that was sent, of a kind that holds no observation.

    Raises:
        InvalidRequest: it is none of this kind, or absurdly large.
    """
    if len(data) > SMALL_BYTES:
        raise InvalidRequest("message", f"at most {SMALL_BYTES} bytes of {kind.DESCRIPTOR.name}", f"{len(data)}")
    return parse(kind, data)


def decode_observation(
    request: pb.ActRequest | pb.EpisodeStart | pb.EpisodeStep, contract: ObservationContract, data: bytes | None = None
) -> NDArray[Any]:
    """Return the observations of a request as a checked batch (n, *shape).

    Args:
        request: what was sent.
        contract: what one observation must be.
        data: the observation's `data`, where the caller has it: each look at the field is a copy of it.

    Raises:
        InvalidRequest: they are not what the contract says.
    """
    if not request.HasField("observation"):
        raise InvalidRequest("observation", "a tensor", "none")
    try:
        observation = to_array(request.observation, contract.dtype, contract.shape, data)
    except TensorError as error:
        raise InvalidRequest(f"observation.{error.field}", error.expected, error.got) from error
    return contract.check(observation)


class AnswerForm(NamedTuple):
    """What of a request decides how it is answered; the request itself, which may be large, is not kept for it."""

    as_values: bool
    is_batch: bool | None
    """Whether the observation has a leading axis; None where it names no shape, and several are a batch."""

    @classmethod
    def of(cls, observation: pb.Tensor, contract: ObservationContract) -> "AnswerForm":
        """Return the form of the answer to a decoded observation."""
        n_axes = len(observation.shape)
        return cls(has_values_form(observation), n_axes > len(contract.shape) if n_axes else None)


def encode_answer(form: AnswerForm, policy: Policy, answer: Answer) -> pb.ActResponse:
    """Return the response, in the form and with the leading axes of the request's observation."""
    actions, values, as_values = answer.actions, answer.values, form.as_values
    is_batch = len(actions) > 1 if form.is_batch is None else form.is_batch
    if not is_batch:
        actions = actions[0, ...]
        values = None if values is None else values[0]
    explored = () if answer.explored is None else answer.explored.tolist()
    response = pb.ActResponse(policy=policy.name, version=policy.version, explored=explored, state=policy.token(answer))
    fill_tensor(response.action, actions, as_values=as_values)
    if values is not None:
        fill_tensor(response.values, values, as_values=as_values)
    return response


def has_values_form(tensor: pb.Tensor) -> bool:
    """Whether a decoded tensor has the form for people; `data`, of which a look is a copy, is looked at last."""
    return bool(tensor.values) and not tensor.data


def encode_step(policy: Policy, step: int, answer: Answer, *, as_values: bool) -> pb.EpisodeResponse:
    """Return the response to one observation of an episode."""
    is_explored = answer.explored is not None and bool(answer.explored[0])
    response = pb.EpisodeResponse(policy=policy.name, version=policy.version, step=step, explored=is_explored)
    fill_tensor(response.action, answer.actions[0, ...], as_values=as_values)
    if answer.values is not None:
        fill_tensor(response.values, answer.values[0], as_values=as_values)
    return response


def encode_live(policy: CatalogEntry, default_version: str) -> pb.LivePolicy:
    """Return the message that describes what is live of one policy."""
    return pb.LivePolicy(
        name=policy.name,
        aliases=policy.aliases,
        default_version=default_version,
        versions=[
            pb.LiveVersion(version=version.version, spec=version.spec, sha256=version.sha256)
            for _, version in sorted(policy.versions.items(), key=lambda item: (len(item[0]), item[0]))
        ],
    )
