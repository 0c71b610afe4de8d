"""The history of @champion: MLflow keeps where the alias points, this keeps where it pointed before.

It is a tag of the registered model, written by those who move the alias, and by services for moves made by hand.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

HISTORY_TAG = "polserve.champion.history"
"""Tag of a registered model: the moves of @champion as a JSON list, oldest first."""
MAX_MOVES = 200
"""Moves that are kept; MLflow's limit of 100,000 characters for a tag holds several times as many."""
MAX_BY_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Move:
    """A move of the alias to a version."""

    version: str
    at: str
    """The moment of the move, in UTC, ISO 8601."""
    by: str
    """The one who moved the alias, or who saw that it had moved."""
    is_rollback: bool = False
    """Whether it went back to a version that was champion before, in place of those after it."""

    @classmethod
    def now(cls, version: str, by: str, *, is_rollback: bool = False) -> "Move":
        """Return a move at this moment."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(version, at, by[:MAX_BY_LENGTH], is_rollback)


def parse_history(text: str) -> list[Move]:
    """Read the moves in a tag's text; there are none where it is not what `extended` writes."""
    try:
        return [Move(**move) for move in json.loads(text)]
    except (ValueError, TypeError):
        return []


def extended(text: str, move: Move) -> str:
    """Return the tag's text with one more move, the oldest ones left out where there are too many."""
    return json.dumps([asdict(each) for each in [*parse_history(text), move][-MAX_MOVES:]])


def points_at(text: str, version: str) -> bool:
    """Return whether the latest move on record was to `version`."""
    return [move.version for move in parse_history(text)[-1:]] == [version]


def earlier(moves: Sequence[Move], current: str) -> list[str]:
    """Return the versions that were champion before `current`, latest first, without those rolled back from."""
    stack: list[str] = []
    for move in [*moves, Move(current, "", "")]:
        if move.is_rollback and move.version in stack:
            if stack[-1] == move.version:  # seen by a service before the rollback was written down
                stack.pop()
            del stack[_last(stack, move.version) + 1 :]
        if stack[-1:] != [move.version]:
            stack.append(move.version)
    return list(dict.fromkeys(version for version in reversed(stack) if version != current))


def _last(stack: Sequence[str], version: str) -> int:
    """Return the last index of `version`, or -1."""
    return max((index for index, each in enumerate(stack) if each == version), default=-1)
