"""What is live: which versions of which policies, under which aliases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protos.names import CHAMPION
from serving.errors import NotReady, UnknownPolicy, UnknownVersion
from serving.policy import Policy


@dataclass(frozen=True, slots=True)
class LivePolicy:
    """The live versions of one policy; immutable, so that a reader always sees one consistent state."""

    name: str
    versions: Mapping[str, Policy]
    aliases: Mapping[str, str]
    """Alias to version; every version in it is live."""


class Catalog:
    """The live policies. One thread changes it, any number read it: a change replaces one reference."""

    def __init__(self, aliases: Sequence[str] = (CHAMPION,)) -> None:
        """Start empty; without a champion, `aliases` gives the order in which an alias stands for version ""."""
        self._order = (CHAMPION, *aliases)
        self._live: Mapping[str, LivePolicy] = {}
        self._is_known = False

    def live(self) -> Mapping[str, LivePolicy]:
        """Everything that is live, by policy name."""
        return self._live

    def settle(self) -> None:
        """What is live is known now; before, asking for a policy that is not live is too early, not wrong."""
        self._is_known = True

    def put(self, policy: LivePolicy) -> None:
        """`policy` takes the place of what was live under its name."""
        self._live = {**self._live, policy.name: policy}

    def remove(self, name: str) -> None:
        """Nothing is live under `name`."""
        self._live = {key: policy for key, policy in self._live.items() if key != name}

    def policy(self, name: str) -> LivePolicy:
        """The live versions of one policy.

        Raises:
            UnknownPolicy: none is live.
            NotReady: none is live yet.
        """
        try:
            return self._live[name]
        except KeyError:
            if not self._is_known:
                raise NotReady("starting: the policies are being loaded; try again") from None
            raise UnknownPolicy(name, self._live) from None

    def resolve(self, name: str, version: str) -> Policy:
        """The version that answers to `version`: "" for the default, a number, or "@alias".

        Raises:
            UnknownPolicy: no such policy is live.
            UnknownVersion: it is not live in that version.
        """
        live = self.policy(name)
        if not version:
            number = next((live.aliases[alias] for alias in self._order if alias in live.aliases), "")
        elif version.startswith("@"):
            number = live.aliases.get(version[1:], "")
        else:
            number = version
        try:
            return live.versions[number]
        except KeyError:
            raise UnknownVersion(name, version, live.versions, live.aliases) from None
