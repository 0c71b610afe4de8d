"""How a client proves who it is, and knows that the service is the right one."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

from polserve.protos.shared.hosts import is_loopback
from polserve.protos.shared.paths import expanded
from polserve.serving.client.errors import InvalidArgument
from polserve.serving.client.target import host_of

Token: TypeAlias = str | Callable[[], str]
"""A bearer token, or a function that returns the one to send now."""

VARIABLES = {
    "tls": "POLSERVE_TLS",
    "ca": "POLSERVE_CA",
    "certificate": "POLSERVE_CLIENT_CERT",
    "key": "POLSERVE_CLIENT_KEY",
    "server_name": "POLSERVE_SERVER_NAME",
    "token": "POLSERVE_TOKEN",
    "token_file": "POLSERVE_TOKEN_FILE",
    "insecure": "POLSERVE_INSECURE",
}
"""The variable of each field of `Credentials`."""

_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client connects with; what is not given here is not used, whatever the variables say.

    A client that is given none reads them from the variables POLSERVE_TLS, POLSERVE_CA, POLSERVE_CLIENT_CERT,
    POLSERVE_CLIENT_KEY, POLSERVE_SERVER_NAME, POLSERVE_TOKEN, POLSERVE_TOKEN_FILE and POLSERVE_INSECURE.
    """

    tls: bool = False
    """Whether to encrypt; implied by `ca` and `certificate`."""
    ca: str | os.PathLike[str] | None = None
    """File with the authorities that may vouch for the service, in PEM; else those of the system."""
    certificate: str | os.PathLike[str] | None = None
    """File with this client's certificate, in PEM, for a service that asks for one."""
    key: str | os.PathLike[str] | None = None
    """File with the key of that certificate."""
    server_name: str | None = None
    """Name that the service's certificate must have, where it is not the target's host."""
    token: Token | None = None
    """Bearer token that is sent with each call, or a function that returns it."""
    token_file: str | os.PathLike[str] | None = None
    """File with the bearer token; read again when it changes."""
    insecure: bool = False
    """Whether to send a token without TLS to another machine, too."""

    def __post_init__(self) -> None:
        """Expand ~ in the paths; raise InvalidArgument where two fields contradict each other."""
        for name in ("ca", "certificate", "key", "token_file"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, expanded(path))
        if (self.certificate is None) != (self.key is None):
            missing, there = ("key", "certificate") if self.key is None else ("certificate", "key")
            raise InvalidArgument(f"credentials.{missing}", f"a file beside credentials.{there}", "None")
        if self.token is not None and self.token_file is not None:
            raise InvalidArgument("credentials", "one of token and token_file", "both")

    def __repr__(self) -> str:
        """Everything but the token."""
        shown = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "token"}
        given = [f"{name}={value!r}" for name, value in shown.items() if value]
        return f"Credentials({', '.join([*given, *(['token=...'] if self.token else [])])})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Credentials":
        """Read the credentials from the variables; raises InvalidArgument."""
        told = os.environ if environment is None else environment
        given: dict[str, object] = {
            name: value for name, variable in VARIABLES.items() if (value := told.get(variable, "").strip())
        }
        for name in ("tls", "insecure"):
            if name in given:
                given[name] = _switch(VARIABLES[name], str(given[name]))
        return cls(**given)  # type: ignore[arg-type] # text for each

    @property
    def is_encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self.tls or self.ca is not None or self.certificate is not None

    def check(self, target: str) -> None:
        """Refuse to send a token in the clear to another machine; raises InvalidArgument."""
        has_token = self.token is not None or self.token_file is not None
        if has_token and not (self.is_encrypted or self.insecure or is_loopback(host_of(target))):
            raise InvalidArgument(
                "credentials",
                "TLS beside a token for another machine, where anybody on the way could read it",
                f"none for {target}; set tls or ca (POLSERVE_TLS, POLSERVE_CA), or insecure where the way is private",
            )


class Bearer:
    """The `authorization` of calls, by the token that is valid now."""

    def __init__(self, credentials: Credentials) -> None:
        """Read nothing yet."""
        self._token = credentials.token
        self._file = None if credentials.token_file is None else Path(credentials.token_file)
        self._read: tuple[tuple[int, int], str] | None = None

    @property
    def is_needed(self) -> bool:
        """Whether there is a token to send."""
        return self._token is not None or self._file is not None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what a call sends; raises InvalidArgument where the token cannot be had."""
        if not self.is_needed:
            return ()
        token = self._from_file(self._file) if self._file is not None else self._given()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            # NOTE: an error is shown and logged: it does not repeat the token.
            raise InvalidArgument("credentials.token", "a token of visible ASCII characters", "something else")
        return (("authorization", f"Bearer {token}"),)

    def _given(self) -> str:
        token = self._token() if callable(self._token) else self._token
        if not isinstance(token, str):
            expected = "a text, or a function that returns one"
            raise InvalidArgument("credentials.token", expected, f"an object of type {type(token).__name__}")
        return token.strip()

    def _from_file(self, path: Path) -> str:
        try:
            found = path.stat()
            seen = (found.st_mtime_ns, found.st_ino)
            if self._read is None or self._read[0] != seen:
                self._read = (seen, path.read_text().strip())
        except (OSError, ValueError) as error:
            expected = "a file with the token that can be read"
            raise InvalidArgument("credentials.token_file", expected, f"{path} ({error})") from error
        return self._read[1]


def read_pem(argument: str, path: str | os.PathLike[str]) -> bytes:
    """Read a file of certificates or a key; raises InvalidArgument."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        expected = "a file in PEM that can be read"
        raise InvalidArgument(f"credentials.{argument}", expected, f"{path} ({error.strerror})") from error


def _switch(variable: str, text: str) -> bool:
    """Return whether a variable switches something on; raises InvalidArgument."""
    found = _SWITCHES.get(text.lower())
    if found is None:
        raise InvalidArgument(variable, "true or false", repr(text))
    return found
