"""How the clients reach a service: the channel's options, what is tried again, and what is said when all fails."""

import json
import os
import random
import re
import time
from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc
import grpc.aio

from polserve.protos.polserve.v1 import budget_pb2
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.calls import DEFAULT_PORT, RETRY_HINT
from polserve.protos.shared.hosts import is_loopback, without_passwords
from polserve.serving.client.credentials import Credentials, read_pem
from polserve.serving.client.errors import ClientError
from polserve.serving.client.http2_socket import tls_context
from polserve.serving.client.target import host_of

ChannelOptions: TypeAlias = Mapping[str, int | str]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

ATTEMPTS = 4
"""Attempts at a call that changes nothing, while the service is unavailable or full."""
FIRST_PAUSE_S = 0.05
"""Pause before the second attempt; each further one is twice as long."""
RECONNECT_MS = 1_000
"""Pause between two attempts to connect; gRPC's default grows to two minutes."""
CONNECT_MS = 5_000
"""Time limit of one attempt to connect; gRPC's default of 20 s is what one lost packet would cost."""
KEEPALIVE_MS = 30_000
"""Silence during a call after which the client probes the service, which allows it every 10 s."""
KEEPALIVE_TIMEOUT_MS = 10_000

HTTP2_REFUSED = "Failed parsing HTTP/2"
"""What gRPC's error contains where something else answers, such as HTTP/1.1."""

_DISTRUSTED = re.compile("CERTIFICATE_VERIFY_FAILED|Hostname Verification|Peer name .* is not in", re.IGNORECASE)
_HUNG_UP = re.compile("closed|reset", re.IGNORECASE)
_PLAIN_HINT = "; if it has --tls-cert, set tls or ca (POLSERVE_TLS, POLSERVE_CA)"
"""What to try where the other side has closed the connection without a word."""
_TLS_HINT = (
    "; or if one runs there, set ca (POLSERVE_CA) to the authority of its certificate, and server_name "
    "(POLSERVE_SERVER_NAME) to the name in it; if it has --tls-client-ca, set certificate and key "
    "(POLSERVE_CLIENT_CERT, POLSERVE_CLIENT_KEY) to a pair that it trusts"
)
"""What to try where nothing is known to answer a client that encrypts."""

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""Variables that name a proxy, in gRPC's order."""

_BUDGETS = budget_pb2.DESCRIPTOR.services_by_name["BudgetService"].full_name
_SERVICE = pb.DESCRIPTOR.services_by_name["PolicyService"].full_name
_RETRIES = {
    "methodConfig": [
        {
            "name": [
                *({"service": _SERVICE, "method": method} for method in ("Act", "ListPolicies", "GetPolicy")),
                {"service": _BUDGETS, "method": "Allocate"},
            ],
            # NOTE: not RESOURCE_EXHAUSTED, which a message above the limit gets each time: `Link.retry_after_s`.
            "retryPolicy": {
                "maxAttempts": ATTEMPTS,
                "initialBackoff": f"{FIRST_PAUSE_S}s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
"""Retry policy of calls that change nothing (gRFC A6)."""


def channel_options(target: str, options: ChannelOptions | None) -> list[tuple[str, int | str]]:
    """Return the options of a channel to `target`, `options` before our own."""
    own: dict[str, int | str] = {
        "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
        "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
        "grpc.service_config": json.dumps(_RETRIES),
        "grpc.use_local_subchannel_pool": 1,  # else all channels to one target share a connection
        "grpc.initial_reconnect_backoff_ms": RECONNECT_MS // 5,
        "grpc.max_reconnect_backoff_ms": RECONNECT_MS,
        "grpc.min_reconnect_backoff_ms": CONNECT_MS,
        "grpc.dns_min_time_between_resolutions_ms": RECONNECT_MS,  # it may come back under another address
        "grpc.keepalive_time_ms": KEEPALIVE_MS,
        "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
        "grpc.http2.max_pings_without_data": 0,  # as many as it takes, in an episode that waits
        "grpc.enable_http_proxy": int(not is_loopback(host_of(target))),
    }
    return list({**own, **(options or {})}.items())


def open_channel(target: str, credentials: Credentials, options: ChannelOptions | None = None) -> grpc.Channel:
    """Return a channel to a full target; raises InvalidArgument where its files cannot be read."""
    arguments = _arguments(target, credentials, options)
    if not credentials.is_encrypted:
        return grpc.insecure_channel(target, options=arguments)
    return grpc.secure_channel(target, tls_of(credentials), options=arguments)


def open_async_channel(
    target: str, credentials: Credentials, options: ChannelOptions | None = None
) -> grpc.aio.Channel:
    """Return a channel for asyncio to a full target; raises InvalidArgument where its files cannot be read."""
    arguments = _arguments(target, credentials, options)
    if not credentials.is_encrypted:
        return grpc.aio.insecure_channel(target, options=arguments)
    return grpc.aio.secure_channel(target, tls_of(credentials), options=arguments)


def tls_of(credentials: Credentials) -> grpc.ChannelCredentials:
    """Return grpcio's TLS; raises InvalidArgument where a file cannot be used."""
    ca, certificate, key = (
        None if path is None else read_pem(name, path)
        for name, path in (("ca", credentials.ca), ("certificate", credentials.certificate), ("key", credentials.key))
    )
    tls_context(credentials)  # grpcio says nothing of a wrong file but that it cannot connect
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)


def _arguments(target: str, credentials: Credentials, options: ChannelOptions | None) -> list[tuple[str, int | str]]:
    arguments = channel_options(target, options)
    if credentials.server_name is not None:
        arguments.append(("grpc.ssl_target_name_override", credentials.server_name))
    return arguments


class Link:
    """What a client knows of the way to its service: whether it ever answered, and what to say when all fails."""

    def __init__(self, target: str, options: ChannelOptions | None = None, *, is_encrypted: bool = False) -> None:
        """`options` are those of the channels, which may forbid trying again."""
        self._target = target
        self._is_encrypted = is_encrypted
        self._most_attempts = ATTEMPTS if (options or {}).get("grpc.enable_retries", 1) else 1
        self._answered_at: float | None = None
        self._is_closed = False

    def close(self) -> None:
        """Take notice that the client was closed."""
        self._is_closed = True

    def check_open(self) -> None:
        """Return if the client was not closed; else raise ClientError."""
        if self._is_closed:
            raise ClientError(grpc.StatusCode.CANCELLED, "the client was closed; make another one")

    def attempts(self, timeout_s: float) -> "Attempts":
        """Return the attempts of a call that begins now; raises ClientError where the client was closed."""
        self.check_open()
        return Attempts(self, self._most_attempts, time.monotonic() + timeout_s)

    def answered(self) -> None:
        """Note that the service has answered just now."""
        self._answered_at = time.monotonic()

    def error(self, code: grpc.StatusCode, details: str | None) -> ClientError:
        """Return the error to raise for a failed call."""
        details = details or "no details"
        if code is grpc.StatusCode.UNAVAILABLE and HTTP2_REFUSED in details:
            return ClientError(code, f"{_not_grpc(self._target)} ({details})")
        if code is grpc.StatusCode.UNAVAILABLE and (problem := _tls_problem(self._target, details)):
            return ClientError(code, f"{problem} ({details})")
        if code is grpc.StatusCode.UNAVAILABLE and re.search("connect|resol|reset|closed", details, re.IGNORECASE):
            return ClientError(code, f"{self._problem(details)}{_by_proxy(self._target)} ({details})")
        if code is grpc.StatusCode.UNAUTHENTICATED:
            remedy = "give the client a token, by credentials or POLSERVE_TOKEN, or another one"
            return ClientError(code, f"{details}; {remedy}")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and re.search("larger than max|at most [0-9]+ bytes", details):
            return ClientError(code, f"the message is above the limit; send fewer observations at once ({details})")
        return ClientError(code, details)

    def _problem(self, details: str) -> str:
        if self._answered_at is None:
            missing = f"no polserve answers at {self._target}; start one with `polserve serve`, or correct the target"
            if self._is_encrypted:  # gRPC tells what happened at one address only, and localhost has two
                return missing + _TLS_HINT
            return missing + (_PLAIN_HINT if _HUNG_UP.search(details) else "")
        since_s = time.monotonic() - self._answered_at
        return (
            f"the service at {self._target} cannot be reached; it last answered {since_s:.0f} s ago, and this client "
            "goes on trying with each call"
        )


class Attempts:
    """The attempts of one call: how long each may take, and when the next one is due."""

    def __init__(self, link: Link, most: int, until: float) -> None:
        self._link = link
        self._left = most
        self.until = until
        """Deadline of the call, by the monotonic clock."""

    def timeout_s(self) -> float:
        """Seconds that the next attempt may take."""
        return max(0.0, self.until - time.monotonic())

    def pause_s(self, error: Any, *, is_unavailable_tried_again: bool = False) -> float:
        """Seconds after which to try a call again that a full service refused.

        Args:
            error: the `grpc.RpcError` of the attempt.
            is_unavailable_tried_again: whether to try again, too, where no service answers; grpcio does so by itself.

        Raises:
            ClientError: trying again would be in vain.
        """
        self._left -= 1
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and self._left > 0:
            hint = dict(error.trailing_metadata() or ()).get(RETRY_HINT)
            if isinstance(hint, str) and hint.isdecimal():  # a message above the limit has none
                pause_s = int(hint) / 1000 * random.uniform(1.0, 1.5)  # noqa: S311 - no secret: not all come at once
                if time.monotonic() + pause_s < self.until:
                    return pause_s
        if is_unavailable_tried_again and error.code() is grpc.StatusCode.UNAVAILABLE and self._left > 0:
            pause_s = FIRST_PAUSE_S * 2.0 ** (ATTEMPTS - 1 - self._left) * random.uniform(0.8, 1.2)  # noqa: S311
            if time.monotonic() + pause_s < self.until:
                return pause_s
        raise self._link.error(error.code(), error.details()) from error


def _tls_problem(target: str, details: str) -> str:
    """Say what keeps both sides from agreeing on TLS; empty where that is not it."""
    if _DISTRUSTED.search(details):
        return (
            f"this client does not trust the certificate of {target}, or not for that name; set ca (POLSERVE_CA) to "
            "its authority, or server_name (POLSERVE_SERVER_NAME) to the name in it"
        )
    if "WRONG_VERSION_NUMBER" in details:
        return f"what answers at {target} speaks no TLS; leave out tls and ca, or start the service with --tls-cert"
    return ""


def _not_grpc(target: str) -> str:
    """Return what to say of a port at which something answers that speaks no gRPC."""
    other = "" if target.endswith(f":{DEFAULT_PORT}") else f", as in {target.rpartition(':')[0]}:{DEFAULT_PORT}"
    return (
        f"what answers at {target} speaks no gRPC; if it is polserve's port for HTTP (8080), give the one for gRPC "
        f"({DEFAULT_PORT}){other}"
    )


def _by_proxy(target: str) -> str:
    """Which proxy the way goes through, where gRPC was told of one."""
    name = next((name for name in PROXY_VARIABLES if os.environ.get(name)), None)
    excepted = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or ""  # noqa: SIM112 - gRPC's own
    host = host_of(target)
    is_excepted = any(host.endswith(part.strip()) for part in excepted.split(",") if part.strip())
    if name is None or is_loopback(host_of(target)) or is_excepted:
        return ""
    proxy = without_passwords(os.environ[name])
    return f"; it is sought through the proxy {proxy} of the variable {name}: add {host} to no_proxy if that is wrong"
