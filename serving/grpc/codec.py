"""Between messages and arrays, with errors that name the request's field."""

from typing import Any

from numpy.typing import NDArray

from protos.polserve.v1 import policy_pb2 as pb
from protos.tensors import TensorError, to_array, to_tensor
from serving.answering import Explored
from serving.catalog import LivePolicy
from serving.errors import InvalidRequest
from serving.policy import Policy


def decode_observation(request: pb.ActRequest, policy: Policy) -> NDArray[Any]:
    """The observations of a request as a checked batch (n, *shape).

    Raises:
        InvalidRequest: they are not what the policy's spec says.
    """
    if not request.HasField("observation"):
        raise InvalidRequest("observation", "a tensor", "none")
    contract = policy.observation
    try:
        observation = to_array(request.observation, contract.dtype, contract.shape)
    except TensorError as error:
        raise InvalidRequest(f"observation.{error.field}", error.expected, error.got) from error
    return contract.check(observation)


def encode_answer(request: pb.ActRequest, policy: Policy, explored: Explored) -> pb.ActResponse:
    """The response, in the form and with the leading axes of the request's observation."""
    observation = request.observation
    as_values = not observation.data
    n_axes = len(policy.observation.shape)
    is_batch = len(observation.shape) > n_axes if observation.shape else len(explored.answer.actions) > 1
    answer = explored.answer
    actions, values = answer.actions, answer.values
    if not is_batch:
        actions = actions[0, ...]
        values = None if values is None else values[0]
    return pb.ActResponse(
        policy=policy.name,
        version=policy.version,
        action=to_tensor(actions, as_values=as_values),
        values=None if values is None else to_tensor(values, as_values=as_values),
        explored=() if explored.is_explored is None else explored.is_explored.tolist(),
    )


def encode_live(policy: LivePolicy) -> pb.LivePolicy:
    """The message that describes what is live of one policy."""
    return pb.LivePolicy(
        name=policy.name,
        aliases=policy.aliases,
        versions=[
            pb.LiveVersion(version=version.version, spec=version.spec, sha256=version.sha256)
            for _, version in sorted(policy.versions.items(), key=lambda item: (len(item[0]), item[0]))
        ],
    )
