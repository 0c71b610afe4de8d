"""Observations in parts, as an environment gives them: laid out by the spec of the version that answers.

What has to be asked for that is written once, as steps: a generator that yields calls and requests and is sent their
answers. Each client carries them out in its own way.
"""

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from typing import Any, Protocol, SupportsFloat, TypeAlias, TypeVar

import grpc
import numpy as np

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.layout import Layout, PartError
from polserve.serving.client.arguments import name_and_version
from polserve.serving.client.errors import ClientError, InvalidArgument, described
from polserve.serving.client.live import LivePolicy
from polserve.serving.client.messages import (
    Action,
    ActOptions,
    ClientCall,
    EpisodeMessages,
    act_batch_call,
    act_call,
    policy_call,
)
from polserve.serving.client.observations import numbers

R = TypeVar("R")
Asked: TypeAlias = ClientCall[Any] | pb.EpisodeRequest
Steps: TypeAlias = Generator[Asked, Any, R]
"""Yields calls and requests, is sent their answers, and returns what was wanted."""

MOST_TRIES = 3
"""Versions with other layouts that may go live while one call is answered."""


class StreamMessages(Protocol):
    """What beginning an episode needs of the messages of a stream, with or without slots."""

    is_playing: bool
    policy: str
    number: str
    """The version that the episode began with."""

    def begin(self, reward: Any) -> pb.EpisodeRequest:
        """Return the request that starts an episode without an observation."""

    def began(self, response: pb.EpisodeResponse) -> None:
        """Take notice of the version that an episode began with."""


def is_in_parts(observation: object) -> bool:
    """Whether only the spec says how an observation is laid out: a mapping, or a tuple of more than numbers."""
    if isinstance(observation, Mapping):
        return True
    return isinstance(observation, tuple) and not _is_named(observation) and any(map(_has_axes, observation))


def are_in_parts(observations: object) -> bool:
    """Whether only the spec says how a batch is laid out: of parts, or of observations in parts."""
    if isinstance(observations, list):
        return any(map(is_in_parts, observations))
    return is_in_parts(observations)


def _is_named(given: object) -> bool:
    return hasattr(given, "__array__")


def _has_axes(item: object) -> bool:
    return isinstance(item, (Mapping, list, tuple)) or getattr(item, "ndim", 0) > 0


class Layouts:
    """Layouts of versions' observations, asked for once; may be used from several threads."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], str] = {}
        """The version that answered last, by policy and by what was asked for."""
        self._known: dict[tuple[str, str], Layout | None] = {}

    def find(self, policy: str, asked: str) -> Steps[tuple[str, Layout | None]]:
        """Find the version that answers to `asked`, and the layout of its observations."""
        number = self._numbers.get((policy, asked))
        if number is None or (policy, number) not in self._known:
            live: LivePolicy = yield policy_call(policy)
            self._learn(live)
            found = live.live_version(asked)
            if found is None:
                raise _not_live(policy, asked)
            number = self._numbers[policy, asked] = found.version
        return number, self._known[policy, number]

    def of_version(self, policy: str, number: str) -> Steps[Layout | None]:
        """Find the layout of a version that has answered."""
        if (policy, number) not in self._known:
            live: LivePolicy = yield policy_call(policy)
            self._learn(live)
            if (policy, number) not in self._known:
                raise _not_live(policy, number)
        return self._known[policy, number]

    def note(self, policy: str, asked: str, number: str) -> None:
        """Remember which version answers to `asked`."""
        self._numbers[policy, asked] = number

    def forget(self, policy: str) -> None:
        """Ask again for a policy's layouts: what was laid out by them was refused."""
        for known in (self._numbers, self._known):
            for key in [key for key in list(known) if key[0] == policy]:
                known.pop(key, None)

    def _learn(self, live: LivePolicy) -> None:
        for version in live.versions:
            self._known[live.name, version.version] = Layout.of(version.message.spec.observation)


def act_steps(layouts: Layouts, policy: str, observation: Any, options: ActOptions) -> Steps[Action]:
    """Ask for the action for an observation in parts."""
    return _laid_out_steps(
        layouts,
        name_and_version(policy, options.version),
        lambda layout: act_call(policy, lay_out_one(layout, observation), options),
    )


def act_batch_steps(layouts: Layouts, policy: str, observations: Any, options: ActOptions) -> Steps[Action]:
    """Ask for the actions for several observations in parts."""
    return _laid_out_steps(
        layouts,
        name_and_version(policy, options.version),
        lambda layout: act_batch_call(policy, lay_out_batch(layout, observations), options),
    )


def _laid_out_steps(
    layouts: Layouts, named: tuple[str, str], make_call: Callable[[Layout | None], ClientCall[Action]]
) -> Steps[Action]:
    """Ask by the layout of the version that answers: again where another one did, of another layout."""
    name, asked = named
    number, layout = yield from layouts.find(name, asked)
    for _ in range(MOST_TRIES):
        call = make_call(layout)
        try:
            action: Action = yield call
        except ClientError as error:
            if error.code is grpc.StatusCode.INVALID_ARGUMENT:
                layouts.forget(name)
            raise
        if action.version == number:
            return action
        number, before = action.version, layout
        layout = yield from layouts.of_version(name, number)
        layouts.note(name, asked, number)
        if before is layout or (before is not None and layout is not None and before.is_like(layout)):
            return action
    raise ClientError(grpc.StatusCode.UNAVAILABLE, f"{name}: other versions went live during the call; try again")


def begun_steps(layouts: Layouts, messages: StreamMessages, reward: Any) -> Steps[Layout | None]:
    """Begin an episode unless one goes on; return the layout of its version, which is known only now."""
    if not messages.is_playing:
        response: pb.EpisodeResponse = yield messages.begin(reward)
        messages.began(response)
    layout = yield from layouts.of_version(messages.policy, messages.number)
    return layout


def observe_steps(
    layouts: Layouts, messages: EpisodeMessages, observation: Any, reward: SupportsFloat | None
) -> Steps[Action]:
    """Ask for the next action of an episode, for an observation in parts."""
    layout = yield from begun_steps(layouts, messages, reward)
    response: pb.EpisodeResponse = yield messages.observe(lay_out_one(layout, observation), reward)
    return messages.action(response)


def lay_out_one(layout: Layout | None, observation: Any, argument: str = "observation") -> Any:
    """Return an observation, or a batch of them, as the array that the layout makes of it; raises InvalidArgument."""
    is_tuple = layout is not None and layout.is_tuple and is_in_parts(observation)
    if layout is not None and layout.is_composite and (isinstance(observation, Mapping) or is_tuple):
        try:
            return layout.flatten(observation, numbers, argument)
        except PartError as error:
            raise InvalidArgument(error.part, error.expected, error.got) from error
    _check_no_keys(observation, argument)
    return observation


def _check_no_keys(observation: object, argument: str) -> None:
    """Raise InvalidArgument where an observation has keys, and the policy's observations have none."""
    if isinstance(observation, Mapping):
        expected = "an array: observations of this policy have no keys"
        raise InvalidArgument(argument, expected, described(sorted(map(str, observation))))


def lay_out_batch(layout: Layout | None, observations: Any) -> Any:
    """Return several observations as the arrays that the layout makes of them; raises InvalidArgument.

    A mapping, or a tuple where the environment's space is a Tuple, holds a batch in each part. A list holds
    observations.
    """
    argument = "observations"
    if not isinstance(observations, list):
        laid_out = lay_out_one(layout, observations, argument)
        if layout is not None and isinstance(laid_out, np.ndarray) and laid_out.ndim == len(layout.shape):
            raise InvalidArgument(argument, "a first axis that counts observations, in each part", "one observation")
        return laid_out
    if layout is None or not layout.is_composite:
        for one in observations:
            _check_no_keys(one, argument)
        return observations
    return [lay_out_one(layout, one, f"{argument}[{index}]") for index, one in enumerate(observations)]


def as_given(observation: Any, argument: str = "observation") -> Any:
    """Return an observation in parts with an array in each place, where nothing says how it is laid out."""
    if isinstance(observation, Mapping):
        return {key: as_given(value, f"{argument}[{key!r}]") for key, value in observation.items()}
    if is_in_parts(observation):
        return tuple(as_given(value, f"{argument}[{index}]") for index, value in enumerate(observation))
    return numbers(observation, argument)


def batch_as_given(observations: Any) -> Any:
    """Return a batch in parts with an array in each place, where nothing says how it is laid out."""
    argument = "observations"
    if not isinstance(observations, list):
        return as_given(observations, argument)
    return [as_given(one, f"{argument}[{index}]") for index, one in enumerate(observations)]


def takes_parts(carrier: object) -> bool:
    """Whether a transport or a stream takes observations in parts as they were given."""
    return bool(getattr(carrier, "takes_parts", False))


def as_list(observations: Any) -> Any:
    """Return observations that come one by one as a list; whatever else as it is."""
    is_whole = isinstance(observations, (list, tuple, str, bytes, bytearray, memoryview, Mapping))
    if is_whole or _is_named(observations) or not isinstance(observations, Iterable):
        return observations
    return list(observations)


def asking(call: Callable[[ClientCall[Any]], Any], ask: Callable[[pb.EpisodeRequest], Any]) -> Callable[[Asked], Any]:
    """Return what asks for either: calls of a transport by `call`, requests of a stream by `ask`."""
    return lambda asked: call(asked) if isinstance(asked, ClientCall) else ask(asked)


def carry_out(steps: Steps[R], ask: Callable[[Asked], Any]) -> R:
    """Carry steps out, one after another; return what they return."""
    try:
        asked = next(steps)
        while True:
            try:
                answer = ask(asked)
            except ClientError as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(answer)
    except StopIteration as over:
        result: R = over.value
        return result


async def carry_out_async(steps: Steps[R], ask: Callable[[Asked], Awaitable[Any]]) -> R:
    """Carry steps out in asyncio; return what they return."""
    try:
        asked = next(steps)
        while True:
            try:
                answer = await ask(asked)
            except ClientError as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(answer)
    except StopIteration as over:
        result: R = over.value
        return result


def _not_live(policy: str, version: str) -> ClientError:
    message = f"version: {policy!r} is not live as {version!r}; client.policy({policy!r}) says what is"
    return ClientError(grpc.StatusCode.NOT_FOUND, message)
