"""How a client reaches its service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, SupportsFloat, SupportsIndex

from polserve.serving.client.arguments import connections_of, options_of, timeout_of
from polserve.serving.client.credentials import Credentials
from polserve.serving.client.errors import InvalidArgument, described
from polserve.serving.client.target import full_target


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the service is, and how it is spoken to."""

    target: str
    """Full target, as `full_target` returns it."""
    credentials: Credentials
    timeout_s: float
    """Seconds after which a call, or a step of an episode, fails."""
    connections: int
    options: Mapping[str, int | str]
    """Channel arguments of gRPC."""

    @classmethod
    def by(
        cls,
        target: str,
        credentials: Credentials | None,
        timeout_s: SupportsFloat,
        connections: SupportsIndex,
        options: Mapping[str, int | str] | None,
    ) -> Self:
        """Check a client's arguments; without credentials, take those of the variables.

        Raises:
            InvalidArgument: one is not what it must be.
        """
        if credentials is not None and not isinstance(credentials, Credentials):
            raise InvalidArgument("credentials", "polserve.Credentials, or None", described(credentials))
        seconds, n, given = timeout_of(timeout_s), connections_of(connections), options_of(options)
        full, used = full_target(target), credentials or Credentials.from_environment()
        used.check(full)
        return cls(full, used, seconds, n, given)
