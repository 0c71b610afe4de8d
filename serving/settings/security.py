"""The settings of `polserve serve` that say how it is reached, and by whom."""

import ipaddress
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from polserve.serving.access.callers import ROLES, Role
from polserve.serving.settings.forms import Limits, Shown

if TYPE_CHECKING:  # else the flags could not be read before asyncio and ssl are imported
    from polserve.serving.access.guard import AccessRules
    from polserve.serving.tls import TlsFiles

FilePath = Annotated[Path | None, Shown(default="none", expected="a file")]


@dataclass(frozen=True, kw_only=True)
class SecuritySettings:
    """Settings of transport and access."""

    grpc_socket: Annotated[Path | None, Shown(default="none", expected="a path for a socket")] = None
    """UNIX socket to answer gRPC on too, for clients of this machine that the file's mode (0660) lets in."""
    tls_cert: FilePath = None
    """File with the service's certificate and those of its authorities, in PEM; with it, both ports are encrypted."""
    tls_key: FilePath = None
    """File with the key of the certificate, in PEM and without a password."""
    tls_client_ca: FilePath = None
    """File with the authorities whose certificates clients must show, in PEM (mutual TLS); probes over HTTP need no
    certificate."""
    insecure: bool = False
    """Take calls from other machines without TLS, where something else keeps strangers out."""
    access: FilePath = None
    """File that says whose tokens and certificates may do what; `polserve token` adds to it."""
    jwt_keys: Annotated[str | None, Shown(default="none", expected="a file, or an https:// address")] = None
    """File or https:// address with the keys (JWKS) of those whose JSON web tokens are taken."""
    jwt_issuer: Annotated[str | None, Shown(default="none")] = None
    """Issuer that a JSON web token must have."""
    jwt_audience: Annotated[str | None, Shown(default="none")] = None
    """Audience that a JSON web token must be for."""
    jwt_leeway: Annotated[float, Limits(at_least=0, at_most=3600), Shown(variable="POLSERVE_JWT_LEEWAY_S")] = 0.0
    """Seconds for which a JSON web token is taken before its time and after it, since clocks differ."""
    jwt_role_claim: str = "role"
    """Claim that holds the role: act, observe or none, also as polserve:act among others; a path has dots."""
    jwt_policies_claim: str = "policies"
    """Claim that holds the names of the policies that one sees, in which * stands for any text; without it, all."""
    anonymous: Literal["none", "observe", "act"] = "none"
    """Role of callers who show nothing, where others must: with --access, --jwt-keys or --tls-client-ca."""
    reflection: Literal["open", "observe", "off"] = "observe"
    """Who may use gRPC reflection, which tells what there is to call: everybody, callers who may observe, or nobody."""
    metrics_access: Literal["open", "observe"] = "observe"
    """Who may read /metrics: everybody, or callers who may observe and see all policies."""
    max_call_rate: Annotated[float | None, Shown(default="none", expected="a number above 0"), Limits(above=0)] = None
    """Calls a second that one caller may make of one process, or one address where nobody shows who they are; more are
    refused with RESOURCE_EXHAUSTED and told when to try again. A step of an episode is no call, nor is a page, a probe
    or a scrape."""
    max_connections: Annotated[int, Limits(at_least=1)] = 10_000
    """Largest number of connections for gRPC, shared out among the processes; more wait until there is room, which
    those that have said nothing yet must make. With the grpcio front, more are closed at once."""
    max_http_connections: Annotated[int, Limits(at_least=1)] = 1024
    """Largest number of connections for HTTP; where there are more, the one that has waited longest for its client is
    closed."""
    max_metadata_kib: Annotated[int, Limits(at_least=4, at_most=1024)] = 16
    """Largest metadata of a call, in KiB."""

    trusted_keys: Annotated[Path | None, Shown(default="none", expected="a folder of public keys")] = None
    """Folder with the public keys (Ed25519, PEM) of those whose versions are taken; `polserve sign` signs versions."""
    validator_memory_mib: Annotated[int, Limits(at_least=64)] = 4096
    """Memory that the process which validates versions may take, in MiB: room for the largest one and the live one,
    each twice while it is loaded."""
    run_limit: Annotated[float, Limits(at_least=0.5, at_most=3600), Shown(variable="POLSERVE_RUN_LIMIT_S")] = 5.0
    """Seconds that a run of a model may take beyond twenty times its measured pace; then it is ended, and its calls
    with DEADLINE_EXCEEDED."""
    run_memory_mib: Annotated[int, Limits(at_least=16)] = 2048
    """Memory that a run of a model may take, in MiB; one that takes more is ended likewise."""
    max_runaways: Annotated[int, Limits(at_least=1)] = 3
    """Runs of a version that may be ended so; then it is withdrawn, and the last good version answers again."""

    @property
    def tls_files(self) -> "TlsFiles | None":
        """The files of TLS; None where calls are not encrypted."""
        from polserve.serving.tls import TlsFiles

        if self.tls_cert is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_client_ca)

    @property
    def access_rules(self) -> "AccessRules":
        """Who may call."""
        from polserve.serving.access.guard import AccessRules
        from polserve.serving.access.web_tokens import WebTokenRules

        web_tokens = None
        if self.jwt_keys is not None:
            web_tokens = WebTokenRules(
                self.jwt_issuer or "",
                self.jwt_audience or "",
                self.jwt_leeway,
                self.jwt_role_claim,
                self.jwt_policies_claim,
            )
        is_mutual = self.tls_client_ca is not None
        anonymous, rate = ROLES[self.anonymous], self.max_call_rate or math.inf
        return AccessRules(self.access, web_tokens, self.jwt_keys or "", anonymous, is_mutual, rate)

    @property
    def reflection_needs(self) -> Role | None:
        """Role that reflection needs; None where it is not offered."""
        return {"open": Role.NONE, "observe": Role.OBSERVE, "off": None}[self.reflection]


def is_of_this_machine(host: str) -> bool:
    """Return whether only programs of this machine reach what is bound to the host."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
