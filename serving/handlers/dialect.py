"""What calls for actions ask, whatever their messages: read and written by the dialect of a method."""

from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from numpy.typing import NDArray

from polserve.serving.policy import Answer, Policy

TOO_MANY_AXES = (-1,)
"""Stand-in for a shape that no array has, and that may be too long to copy."""

R = TypeVar("R")
"""A request as a dialect reads it."""
F = TypeVar("F")
"""What of a request decides the form of its answer; hashable."""


class CallsAlike(NamedTuple):
    """What calls have in common that can be answered as one."""

    policy: str
    version: str
    with_values: bool
    epsilon: float
    dtype: int
    """Code of the observation's dtype in `Tensor`; 0 where each call is to be looked at by itself."""
    shape: tuple[int, ...]
    n_bytes: int
    has_state: bool
    outputs: tuple[str, ...] = ()
    """Names of what is to be answered, where the request names it."""


class Asked(NamedTuple, Generic[R]):
    """What a call asks."""

    alike: CallsAlike
    request: R
    data: bytes
    """The observation's numbers."""
    ending: bytes = b""
    """Serialised fields of the response that are this call's alone."""


class Dialect(Protocol[R, F]):
    """The messages of one method that answers observations with actions."""

    def read(self, message: bytes) -> Asked[R]:
        """Read a request; raises InvalidRequest."""

    def rows(self, asked: Asked[R], policy: Policy) -> NDArray[Any]:
        """Return its observations as the policy takes them, checked, with their memories; raises InvalidRequest."""

    def form(self, asked: Asked[R], policy: Policy) -> F:
        """Return the form of its answer; raises InvalidRequest where the policy cannot answer so."""

    def encode(self, form: F, policy: Policy, answer: Answer) -> bytes:
        """Serialise an answer."""

    def encode_each(self, form: F, policy: Policy, answer: Answer, each: int) -> Iterable[bytes]:
        """Serialise the answers of several calls, each to so many observations of those that `answer` is to."""


def cut_answer(answer: Answer, each: int) -> Iterator[Answer]:
    """Yield an answer in parts of so many observations."""
    for start in range(0, len(answer.actions), each):
        yield _part(answer, slice(start, start + each))


def _part(answer: Answer, part: slice) -> Answer:
    values = None if answer.values is None else answer.values[part]
    explored = None if answer.explored is None else answer.explored[part]
    memories = None if answer.memories is None else answer.memories[part]
    return Answer(answer.actions[part], values, explored, memories)
