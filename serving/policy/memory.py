"""What a recurrent policy remembers of an episode, from one observation to the next.

The graph has an input and an output for each state; here they are one row of float32 for each observation. Rows of
observations with their memories are arrays of two fields, so that whatever cuts and joins observations does so to both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import NEXT, OBSERVATION, SPEC_KEY
from polserve.serving.errors import InvalidRequest, RolloutRefused

Memories: TypeAlias = NDArray[np.float32]  # (n, size)

MEMORY = "memory"
"""Name of the field beside the observation."""
TOKEN_MARK = b"ps1\n"
"""Begins the tokens that clients carry, so that one of another kind is told."""
CHECKSUM_BYTES = 16
"""Bytes of a version's checksum in its tokens."""


@dataclass(frozen=True, slots=True)
class Memory:
    """States of a recurrent policy, in the order of its spec."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, spec: pb.PolicySpec) -> "Memory | None":
        """Return what a spec states; None where the policy is not recurrent.

        Raises:
            RolloutRefused: a state is none that the service can keep.
        """
        if not spec.states:
            return None
        for state in spec.states:
            if not state.name or state.dtype != pb.FLOAT32 or min(state.shape, default=1) < 1:
                raise RolloutRefused(f"{SPEC_KEY}: states: expected names, FLOAT32 and a fixed shape, got {state}")
        return cls(tuple(state.name for state in spec.states), tuple(tuple(state.shape) for state in spec.states))

    @property
    def size(self) -> int:
        """Count of the numbers that are remembered."""
        return sum(map(prod, self.shapes))

    @property
    def next_names(self) -> tuple[str, ...]:
        """Names of the graph's outputs that hold them."""
        return tuple(NEXT + name for name in self.names)

    def begin(self, n: int) -> Memories:
        """Return the memories of n episodes that begin."""
        return np.zeros((n, self.size), np.float32)

    def rows(self, observations: NDArray[Any], memories: Memories) -> NDArray[Any]:
        """Return observations (n, *shape) with their memories (n, size), as a policy takes them."""
        kinds = [(OBSERVATION, observations.dtype, observations.shape[1:]), (MEMORY, np.float32, (self.size,))]
        rows = np.empty(len(observations), np.dtype(kinds))
        rows[OBSERVATION], rows[MEMORY] = observations, memories
        return rows

    def inputs(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the graph's inputs by name; rows without memories begin episodes."""
        if rows.dtype.names is None:
            observations, memories = rows, self.begin(len(rows))
        else:
            observations, memories = np.ascontiguousarray(rows[OBSERVATION]), rows[MEMORY]
        inputs = {OBSERVATION: observations}
        at = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            inputs[name] = np.ascontiguousarray(memories[:, at : (at := at + prod(shape))]).reshape(-1, *shape)
        return inputs

    def joined(self, outputs: Sequence[NDArray[Any]]) -> Memories:
        """Return memories (n, size) of the graph's outputs, in the order of `next_names`."""
        return np.concatenate([output.reshape(len(output), -1) for output in outputs], axis=1)

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Memories:
        """Return memories (n, size) of states by name."""
        return self.joined([arrays[name] for name in self.names])

    def by_name(self, memories: Memories, prefix: str = "") -> dict[str, NDArray[np.float32]]:
        """Return memories (n, size) as states by name."""
        found, at = {}, 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            found[prefix + name] = memories[:, at : (at := at + prod(shape))].reshape(-1, *shape)
        return found


def write_token(sha256: str, memories: Memories) -> bytes:
    """Return memories as a client carries them: bound to the version by its checksum."""
    return TOKEN_MARK + bytes.fromhex(sha256)[:CHECKSUM_BYTES] + memories.astype("<f4", copy=False).tobytes()


def read_token(memory: Memory, version: str, sha256: str, token: bytes, n: int) -> Memories:
    """Return the memories (n, size) that a client carried; without a token, those of episodes that begin.

    Raises:
        InvalidRequest: it is none of this version, or of another number of observations.
    """
    if not token:
        return memory.begin(n)
    head = TOKEN_MARK + bytes.fromhex(sha256)[:CHECKSUM_BYTES]
    expected = f"what {version} answered the observation before with, or none to begin an episode"
    if not token.startswith(head):
        is_ours = token.startswith(TOKEN_MARK)
        got = "the state of another version" if is_ours else f"{len(token)} bytes that are no state"
        raise InvalidRequest("state", expected, got)
    row_bytes = memory.size * np.dtype(np.float32).itemsize
    if len(token) - len(head) != n * row_bytes:
        whole, rest = divmod(len(token) - len(head), row_bytes)
        got = f"{len(token)} bytes that are no state" if rest else f"the states of {whole} observations"
        raise InvalidRequest("state", f"the states of {n} observations", got)
    memories = np.frombuffer(token, "<f4", offset=len(head)).reshape(n, memory.size).astype(np.float32)
    if not np.isfinite(memories).all():
        raise InvalidRequest("state", expected, "a state with numbers that are not finite")
    return memories
