"""What both clients share of an act and an episode: requests from arguments, and actions from responses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, SupportsFloat, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_array
from polserve.serving.client.arguments import (
    Version,
    check_begun,
    flag,
    name_and_version,
    policy_name,
    probability,
    reward_of,
    state_of,
)
from polserve.serving.client.errors import InvalidArgument, described
from polserve.serving.client.live import LivePolicy
from polserve.serving.client.observations import Observations, batch_of, fill_observation

T = TypeVar("T")
Method = Literal["Act", "Allocate", "ListPolicies", "GetPolicy"]


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy answered."""

    action: NDArray[np.int64] | NDArray[np.float32]
    """In the environment's own form, with the leading axes of the observation: () or (n,) int64 for one choice, int64
    of the action's shape for several, float32 for continuous ones."""
    policy: str
    """Name of the policy that answered."""
    version: str
    """The version that answered."""
    values: NDArray[np.float32] | None
    """Q-values, where they were asked for and the policy has them."""
    explored: NDArray[np.bool_] | None
    """For which observations the action was drawn at random; None when epsilon was 0."""
    state: bytes | None = None
    """What a recurrent policy remembers, to be given with the next observation; None for any other policy."""


class ClientCall(NamedTuple, Generic[T]):
    """One call of a client: the request, and how its response is read."""

    method: Method
    request: Message
    read: Callable[..., T]
    """Function from the response to what the client returns."""
    is_batch: bool = False
    """Whether the observation's first axis counts observations, by the method that was called."""
    given: object = None
    """The observation in parts as it was given, for whoever takes it so; None where the request has it."""


class ActOptions(NamedTuple):
    """How an action is asked for, as the caller says it."""

    version: Version = ""
    with_values: bool = False
    epsilon: SupportsFloat = 0.0
    state: bytes | None = None
    """What a recurrent policy's answer before gave; None at the start of an episode."""


def act_call(policy: str, observation: ArrayLike, options: ActOptions) -> ClientCall[Action]:
    """Return the call for one observation, or a batch; raises InvalidArgument."""
    return ClientCall("Act", act_request(policy, observation, options), action_of)


def act_batch_call(policy: str, observations: Observations, options: ActOptions) -> ClientCall[Action]:
    """Return the call for several observations; raises InvalidArgument."""
    request = _act_request(policy, options)
    fill_observation(request.observation, batch_of(observations), "observations")
    return ClientCall("Act", request, action_of, is_batch=True)


def given_call(policy: str, given: object, options: ActOptions, *, is_batch: bool = False) -> ClientCall[Action]:
    """Return the call for observations in parts as they were given, for whoever takes them so."""
    request = _act_request(policy, options)
    request.observation.SetInParent()
    return ClientCall("Act", request, action_of, is_batch=is_batch, given=given)


def policies_call() -> ClientCall[list[LivePolicy]]:
    """Return the call that lists what is live."""
    return ClientCall("ListPolicies", pb.ListPoliciesRequest(), _policies_of)


def policy_call(name: str) -> ClientCall[LivePolicy]:
    """Return the call that describes one live policy; raises InvalidArgument."""
    return ClientCall("GetPolicy", pb.GetPolicyRequest(policy=policy_name(name)), _policy_of)


def act_request(policy: str, observation: ArrayLike, options: ActOptions) -> pb.ActRequest:
    """Return the request for one observation, or a batch; raises InvalidArgument."""
    request = _act_request(policy, options)
    fill_observation(request.observation, observation)
    return request


def _act_request(policy: str, options: ActOptions) -> pb.ActRequest:
    """Return a request that has yet to be given its observation; raises InvalidArgument."""
    name, number = name_and_version(policy, options.version)
    return pb.ActRequest(
        policy=name,
        version=number,
        with_values=flag("with_values", options.with_values),
        epsilon=probability("epsilon", options.epsilon),
        state=state_of(options.state),
    )


def action_of(response: pb.ActResponse) -> Action:
    """Return the action that an Act answered."""
    return Action(
        action=to_array(response.action).copy(),
        policy=response.policy,
        version=response.version,
        values=to_array(response.values).copy() if response.HasField("values") else None,
        explored=np.array(response.explored, np.bool_) if response.explored else None,
        state=response.state or None,
    )


def _policies_of(response: pb.ListPoliciesResponse) -> list[LivePolicy]:
    return [LivePolicy.of(message) for message in response.policies]


def _policy_of(response: pb.GetPolicyResponse) -> LivePolicy:
    return LivePolicy.of(response.policy)


class EpisodeMessages:
    """The requests of one stream of episodes, and what their responses say."""

    def __init__(self, policy: str, version: Version, *, with_values: bool, epsilon: SupportsFloat) -> None:
        """Check the arguments that hold for the whole stream; raises InvalidArgument."""
        self.policy, self._version = name_and_version(policy, version)
        self._with_values = flag("with_values", with_values)
        self._epsilon = probability("epsilon", epsilon)
        self.is_playing = False
        self.number = ""
        """The version that the episode began with."""

    def observe(self, observation: ArrayLike, reward: SupportsFloat | None) -> pb.EpisodeRequest:
        """Return the request with an observation: the first of an episode starts it.

        Raises:
            InvalidArgument: one of them is not what it must be, or there is a reward with the first observation.
        """
        if not self.is_playing:
            request = self.begin(reward)
            fill_observation(request.start.observation, observation)
            return request
        request = pb.EpisodeRequest()
        fill_observation(request.step.observation, observation)
        earned = reward_of(reward)
        if earned is not None:
            request.step.reward = earned
        return request

    def begin(self, reward: SupportsFloat | None) -> pb.EpisodeRequest:
        """Return the request that starts an episode without an observation; raises InvalidArgument for a reward."""
        if reward_of(reward) is not None:
            raise InvalidArgument("reward", "none with the first observation of an episode", described(reward))
        start = pb.EpisodeStart(
            policy=self.policy, version=self._version, with_values=self._with_values, epsilon=self._epsilon
        )
        return pb.EpisodeRequest(start=start)

    def began(self, response: pb.EpisodeResponse) -> None:
        """Take notice of the version that an episode began with."""
        self.is_playing = True
        self.number = response.version

    def end(self, reward: SupportsFloat | None, *, truncated: bool) -> pb.EpisodeRequest:
        """Return the request that ends an episode; raises InvalidArgument."""
        check_begun(is_playing=self.is_playing)
        end = pb.EpisodeEnd(reward=reward_of(reward), truncated=flag("truncated", truncated))
        return pb.EpisodeRequest(end=end)

    def action(self, response: pb.EpisodeResponse) -> Action:
        """Return the action that a step was answered with; the episode goes on."""
        self.began(response)
        return Action(
            action=to_array(response.action).copy(),
            policy=response.policy,
            version=response.version,
            values=to_array(response.values).copy() if response.HasField("values") else None,
            explored=np.array(response.explored, np.bool_) if self._epsilon > 0 else None,
        )

    def episode_return(self, response: pb.EpisodeResponse) -> float | None:
        """Return the return that an end was answered with; the episode is over."""
        self.is_playing = False
        return response.episode_return if response.HasField("episode_return") else None
