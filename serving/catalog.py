"""What is live: which versions of which policies, under which aliases."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from polserve.protos.shared.names import CHAMPION
from polserve.serving.access.callers import Visible
from polserve.serving.errors import NotReady, UnknownPolicy, UnknownVersion
from polserve.serving.policy import Policy


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """The live versions of one policy, which never change, so that a reader always sees one consistent state."""

    name: str
    versions: Mapping[str, Policy]
    aliases: Mapping[str, str]
    """Alias to version; every version in it is live."""


Live: TypeAlias = Mapping[str, CatalogEntry]
"""What is live, by policy name."""


class Epoch(Protocol):
    """The number of the state that answers; it only grows, and may be shared by several processes."""

    def read(self) -> int:
        """Return the number of the state that answers now."""


class Catalog:
    """The live policies. A state is staged first, and answers once the epoch has reached its number.

    One thread stages, any number read.
    """

    def __init__(self, aliases: Sequence[str], epoch: Epoch) -> None:
        """Start empty; without a champion, `aliases` gives the order in which an alias stands for version ""."""
        self._order = (CHAMPION, *aliases)
        self._epoch = epoch
        self._live: Live = {}
        self._is_known = False
        self._staged: tuple[int, Live] | None = None
        self._resolved: dict[tuple[str, str], Policy] = {}
        """What the names and versions of calls come to among what is live."""
        self._lock = threading.Lock()

    def live(self, policies: Visible | None = None) -> Live:
        """Everything that is live, as far as `policies` lets one see it."""
        live = self._all()
        return live if policies is None else {name: entry for name, entry in live.items() if policies.sees(name)}

    def _all(self) -> Live:
        staged = self._staged
        if staged is not None and self._epoch.read() >= staged[0]:
            with self._lock:
                if self._staged is staged:
                    self._live, self._staged, self._is_known = staged[1], None, True
                    self._resolved = {}
        return self._live

    def stage(self, epoch: int, live: Live) -> None:
        """Let `live` take the place of what is live when the epoch reaches this number."""
        self._all()
        with self._lock:
            self._staged = (epoch, live)

    def policy(self, name: str, policies: Visible | None) -> CatalogEntry:
        """Return the live versions of one policy.

        Args:
            name: of the policy.
            policies: those that the caller sees (`call.caller.policies`); what is not among them does not exist.

        Raises:
            UnknownPolicy: none is live.
            NotReady: none is live yet.
        """
        live = self.live(policies)
        try:
            return live[name]
        except KeyError:
            if not self._is_known:
                raise NotReady("starting: the policies are being loaded; try again") from None
            raise UnknownPolicy(name, live) from None

    def default(self, live: CatalogEntry) -> str:
        """Return the number of the version that answers to version ""; "" where none does."""
        return next((live.aliases[alias] for alias in self._order if alias in live.aliases), "")

    def is_live(self, policy: Policy) -> bool:
        """Whether this very version is live, under any alias."""
        live = self._all().get(policy.name)
        return live is not None and live.versions.get(policy.version) is policy

    def resolve(self, name: str, version: str, policies: Visible | None) -> Policy:
        """Find the version that answers to `version`: "" for the default, a number, or "@alias".

        Args:
            name: of the policy.
            version: which one.
            policies: those that the caller sees (`call.caller.policies`); what is not among them does not exist.

        Raises:
            UnknownPolicy: no such policy is live.
            UnknownVersion: it is not live in that version.
        """
        self._all()
        if policies is not None and not policies.sees(name):
            self.policy(name, policies)
        resolved = self._resolved  # NOTE: before the version is looked for: what is found late goes to a forgotten one
        policy = resolved.get((name, version))
        if policy is None:
            policy = resolved[name, version] = self._resolve(name, version, policies)
        return policy

    def _resolve(self, name: str, version: str, policies: Visible | None) -> Policy:
        live = self.policy(name, policies)  # whose error lists what is live, as far as the caller sees it
        if not version:
            number = self.default(live)
        elif version.startswith("@"):
            number = live.aliases.get(version[1:], "")
        else:
            number = version
        try:
            return live.versions[number]
        except KeyError:
            raise UnknownVersion(name, version, live.versions, live.aliases) from None
