"""Episodes side by side on one stream, as a vector environment plays them: one message speaks for all of them.

A group of slots, and no numbers of episodes in each message: so a step is one tensor, checked, stacked and answered at
once, and nothing is looked up by number. All slots play one version, and begin together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.calls import MAX_REWARD, MOST_SLOTS
from polserve.protos.tensors import fill_tensor
from polserve.serving.episodes import REWARD_BOUND, EpisodeCounter, frame_contract
from polserve.serving.errors import InvalidRequest
from polserve.serving.handlers.codec import decode_observation
from polserve.serving.inference.waiting import Result
from polserve.serving.methods import Call
from polserve.serving.policy import Policy


class SlotsState:
    """The open episodes of a group of slots: their version, which never changes, frame stacks and returns."""

    def __init__(self, policy: Policy, n: int, *, with_values: bool, epsilon: float) -> None:
        """Begin n episodes.

        Raises:
            InvalidRequest: n is no number of slots.
        """
        if not 1 <= n <= MOST_SLOTS:
            raise InvalidRequest("slots", f"1 to {MOST_SLOTS}, or 0 for a single episode", str(n))
        self.policy = policy
        self.n = n
        self.with_values = with_values
        self.epsilon = epsilon
        self.contract = frame_contract(policy)
        """What one slot's observation must be."""
        self.shape = [n, *self.contract.shape]
        """Shape of the observations of all slots."""
        self.n_messages = 0
        """Observations taken in, of all slots at once."""
        self._begun = np.zeros(n, np.int64)
        """Observations that had been taken in when each slot's episode began."""
        self._rewarded = 0
        """Observations that had been taken in when rewards came last."""
        self._returns = np.zeros(n)
        self._stacks: NDArray[Any] | None = None
        self.memories = None if policy.memory is None else policy.memory.begin(n)
        """What a recurrent policy remembers of each slot's episode, (n, size)."""

    def reward(self, rewards: Sequence[float]) -> None:
        """Add what the last actions earned, one for each slot; nothing where there are none.

        Raises:
            InvalidRequest: their number is another, one is not finite or held by no float32, or there was no action.
        """
        if not rewards:
            return
        earned = np.fromiter(rewards, np.float64)
        self._check_number("rewards", len(earned))
        is_reward = np.abs(earned) <= MAX_REWARD
        if not is_reward.all():
            slot = int(np.flatnonzero(~is_reward)[0])
            raise InvalidRequest("rewards", f"finite numbers {REWARD_BOUND}", f"{earned[slot]} at [{slot}]")
        if not self.n_messages:
            raise InvalidRequest("rewards", "none before the first actions", f"{self.n} of them")
        self._returns += earned
        self._rewarded = self.n_messages

    def end(self, ended: Sequence[int], counter: EpisodeCounter) -> list[pb.SlotReturn]:
        """End the episodes of slots, count them, and return what each came to; the slots are ready for the next.

        Args:
            ended: a SlotEnd for each slot; empty where none has ended.
            counter: where they are counted.

        Raises:
            InvalidRequest: their number is another, one is no SlotEnd, or there was no action.
        """
        if not ended:
            return []
        self._check_number("ended", len(ended))
        hows = np.fromiter(ended, np.int64, self.n)
        over = np.flatnonzero(hows).tolist()
        for slot in over:
            if hows[slot] not in (pb.SLOT_END_TERMINATED, pb.SLOT_END_TRUNCATED):
                expected = "SLOT_END_TERMINATED, SLOT_END_TRUNCATED or 0"
                raise InvalidRequest("ended", expected, f"{hows[slot]} at [{slot}]")
            if self._begun[slot] == self.n_messages:
                expected = "0 for a slot whose episode has no action yet"
                raise InvalidRequest("ended", expected, f"{hows[slot]} at [{slot}]")
        return self._end_slots(over, (hows[over] == pb.SLOT_END_TRUNCATED).tolist(), counter)

    def observe(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Take the next observations in; return them as the policy takes them, (n, *shape), with the frames before.

        Args:
            batch: (n, *frame), checked by `contract`.

        Raises:
            InvalidRequest: their number is another.
        """
        if len(batch) != self.n:
            expected = f"({self.n}, {', '.join(map(str, self.contract.shape))}), one observation for each slot"
            raise InvalidRequest("observation.shape", expected, f"{len(batch)} of them")
        rows = batch if self.contract is self.policy.observation else self._stacked(batch)
        if self.policy.memory is not None and self.memories is not None:
            begins = self._begun == self.n_messages
            memories = np.where(begins[:, np.newaxis], self.policy.memory.begin(self.n), self.memories)
            rows = self.policy.memory.rows(rows, memories)
        self.n_messages += 1
        return rows

    def _stacked(self, batch: NDArray[Any]) -> NDArray[Any]:
        depth = self.policy.observation.shape[0]
        if self._stacks is None:
            self._stacks = np.repeat(batch[:, np.newaxis], depth, axis=1)
            return self._stacks
        self._stacks[:, :-1] = self._stacks[:, 1:].copy()
        self._stacks[:, -1] = batch
        begins = self._begun == self.n_messages  # as in training, the first frame stands for those before it
        self._stacks[begins] = batch[begins, np.newaxis]
        return self._stacks

    def _check_number(self, field: str, n: int) -> None:
        if n != self.n:
            raise InvalidRequest(field, f"{self.n}, one for each slot, or none", f"{n} of them")

    def _end_slots(
        self, over: Sequence[int], are_truncated: Sequence[bool], counter: EpisodeCounter
    ) -> list[pb.SlotReturn]:
        """Count the episodes of the slots `over`, and let each slot begin anew; return what the episodes came to."""
        returns, begun = self._returns[over].tolist(), self._begun[over].tolist()
        self._begun[over], self._returns[over] = self.n_messages, 0.0
        ended = []
        for slot, earned, first, is_truncated in zip(over, returns, begun, are_truncated, strict=True):
            episode_return = earned if self._rewarded > first else None
            counter.count_episode(self.policy, episode_return, is_truncated=is_truncated)
            ended.append(pb.SlotReturn(slot=slot, steps=self.n_messages - first, episode_return=episode_return))
        return ended


def take_slots(
    state: SlotsState, request: pb.EpisodeStart | pb.EpisodeStep, counter: EpisodeCounter
) -> tuple[NDArray[Any], list[pb.SlotReturn]]:
    """Take in what a message of a group says; return what it asks the model, (n, *shape), and the episodes it ends.

    Raises:
        InvalidRequest: it says something that cannot be.
    """
    batch = _decode(state, request)
    over: list[pb.SlotReturn] = []
    if isinstance(request, pb.EpisodeStep):
        if request.HasField("reward"):
            raise InvalidRequest("reward", "rewards, one for each slot", str(request.reward))
        if len(batch) == state.n:  # so that nothing is counted of a message that is refused
            state.reward(request.rewards)
            over = state.end(request.ended, counter)
    return state.observe(batch), over


def _decode(state: SlotsState, request: pb.EpisodeStart | pb.EpisodeStep) -> NDArray[Any]:
    """Return the observations of all slots, (n, *frame), checked; raises InvalidRequest."""
    tensor, contract = request.observation, state.contract
    if tensor.dtype == contract.code and tensor.shape == state.shape:
        data = tensor.data
        if len(data) == state.n * contract.n_bytes:
            rows = np.frombuffer(data, contract.dtype).reshape(state.shape)
            contract.check_rows(rows)
            return rows
    batch = decode_observation(request, contract)  # in another form, or to say what is wrong
    if tensor.shape and len(tensor.shape) == len(contract.shape):
        raise InvalidRequest("observation.shape", f"a leading axis of {state.n} slots", str(tuple(batch.shape[1:])))
    return batch


def end_slots(state: SlotsState, end: pb.EpisodeEnd, counter: EpisodeCounter) -> pb.EpisodeResponse:
    """End the episodes of all slots that have begun one; return the response.

    Raises:
        InvalidRequest: the rewards are not what they must be.
    """
    if end.HasField("reward"):
        raise InvalidRequest("reward", "rewards, one for each slot", str(end.reward))
    state.reward(end.rewards)
    how = pb.SLOT_END_TRUNCATED if end.truncated else pb.SLOT_END_TERMINATED
    over = state.end([how] * state.n if state.n_messages else [], counter)
    policy = state.policy
    return pb.EpisodeResponse(policy=policy.name, version=policy.version, step=state.n_messages, ended=over)


def reply_slots(
    call: Call,
    state: SlotsState,
    over: list[pb.SlotReturn],
    as_values: bool,  # noqa: FBT001 - bound by position
    result: Result,
) -> None:
    """Answer a message of a group with an action for each slot, and with the episodes that it ended."""
    if isinstance(result, Exception):
        call.fail(result)
        return
    state.memories = result.memories
    policy = state.policy
    response = pb.EpisodeResponse(policy=policy.name, version=policy.version, step=state.n_messages, ended=over)
    fill_tensor(response.action, result.actions, as_values=as_values)
    if result.values is not None:
        fill_tensor(response.values, result.values, as_values=as_values)
    if result.explored is not None:
        response.explored_slots.extend(result.explored.tolist())
    call.reply(response.SerializeToString())
