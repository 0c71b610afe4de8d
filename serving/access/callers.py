"""Callers: who they are, what they may do, and which policies they see."""

import fnmatch
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

MOST_NAMES, LONGEST_NAME = 4096, 200
"""Names of policies whose visibility is kept at hand, and their characters; callers choose what they ask for."""


class Role(IntEnum):
    """What a caller may do; each role may do what those below it may."""

    NONE = 0
    """Ask for the health of the service."""
    OBSERVE = 1
    """See what is live: lists, specs, metrics, reflection."""
    ACT = 2
    """Ask for actions."""


ROLES = {role.name.lower(): role for role in Role}
"""Roles by their names in files and claims."""


class Visible:
    """The policies that a caller may see; made by `visible`."""

    __slots__ = ("_known", "patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        """Names of policies, in which * stands for any text."""
        self._known: dict[str, bool] = {}

    def sees(self, policy: str) -> bool:
        """Whether a policy of this name is visible, if there is one."""
        found = self._known.get(policy)
        if found is None:
            found = any(fnmatch.fnmatchcase(policy, pattern) for pattern in self.patterns)
            if len(policy) > LONGEST_NAME:
                return found
            if len(self._known) >= MOST_NAMES:
                self._known.clear()
            self._known[policy] = found
        return found


@functools.lru_cache(1024)
def _interned(patterns: tuple[str, ...]) -> Visible:
    return Visible(patterns)


def visible(patterns: Iterable[str] | None) -> Visible | None:
    """Return what these patterns let one see; None, as for no patterns at all, for everything.

    Those with the same patterns see by the same object, so that their calls are answered together.
    """
    return None if patterns is None else _interned(tuple(sorted(set(patterns))))


@dataclass(slots=True, eq=False)
class Caller:
    """Somebody who calls, as the service knows them; never changed but by being revoked."""

    name: str
    """Name for the log; of no meaning otherwise."""
    role: Role
    policies: Visible | None = None
    """The policies that exist for this caller; None for all."""
    expires_at: float = math.inf
    """Unix time from which the caller must show something new."""
    is_revoked: bool = False
    """Whether the caller is known no longer, or may do something else now."""

    def is_valid(self, now: float) -> bool:
        """Whether a stream of this caller may go on, by Unix time."""
        return not self.is_revoked and now < self.expires_at

    def may_the_same(self, other: "Caller") -> bool:
        """Whether another caller may do the same, for as long."""
        mine, others = (self.role, self.patterns, self.expires_at), (other.role, other.patterns, other.expires_at)
        return mine == others

    @property
    def patterns(self) -> tuple[str, ...] | None:
        """Names of the policies that exist for this caller, in which * stands for any text; None for all."""
        return None if self.policies is None else self.policies.patterns

    def sees(self, policy: str) -> bool:
        """Whether a policy of this name exists for this caller, if there is one."""
        return self.policies is None or self.policies.sees(policy)


ANYBODY = Caller("anybody", Role.ACT)
"""Whoever calls a service that asks nobody who they are."""
STRANGER = Caller("stranger", Role.NONE, visible(()))
"""Whoever has shown nothing that is valid, and asks for what is open."""
