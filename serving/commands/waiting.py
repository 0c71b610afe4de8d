"""Waiting until a service is ready, and what is known of it when the time is up."""

import sys
import time
from dataclasses import dataclass, replace

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from polserve.serving.client.channel import open_channel
from polserve.serving.client.credentials import Bearer, Credentials

ATTEMPT_TIMEOUT_S = 2.0
ATTEMPT_INTERVAL_S = 0.2
FIRST_WORD_S = 1.0
"""Seconds until the user is told what is waited for."""
WORD_INTERVAL_S = 2.0
SERVING = health_pb2.HealthCheckResponse.SERVING
ANSWERS_NOTHING = "it answers, and has nothing live yet; /readyz on its HTTP port says why"


@dataclass(frozen=True, slots=True)
class State:
    """How a service stands: ready, or why not."""

    reason: str = ""
    """Why it is not ready; empty if it is."""
    is_there: bool = True
    """Whether it is one of ours that answers."""
    is_hopeless: bool = False
    """Whether waiting is unlikely to help."""
    waited_s: float = 0.0


def wait_until_ready(target: str, timeout_s: float, policy: str = "", *, is_patient: bool = False) -> State:
    """Wait until the service is ready or the time is up, saying so on stderr; return how it stands then.

    Args:
        target: host:port.
        timeout_s: the longest to wait; 0 asks once.
        policy: the one that must be live; "" for all that the service is to have.
        is_patient: wait even for what is unlikely to come, such as the address of a container that does not run yet.
    """
    began = time.monotonic()
    next_word = FIRST_WORD_S
    while True:
        state = ask(target, policy)
        waited = time.monotonic() - began
        if not state.reason or waited >= timeout_s or (state.is_hopeless and not is_patient):
            return replace(state, waited_s=waited)
        if waited >= next_word:
            next_word = waited + WORD_INTERVAL_S
            sys.stderr.write(f"waiting for polserve at {target}, {waited:.0f} s ({state.reason})\n")
        time.sleep(min(ATTEMPT_INTERVAL_S, timeout_s - waited))


def ask(target: str, policy: str = "") -> State:
    """Ask the service how it stands now.

    NOTE: on a connection of its own, since a channel that failed waits before it tries again.
    """
    credentials = Credentials.from_environment()
    credentials.check(target)
    with open_channel(target, credentials) as channel:
        request = health_pb2.HealthCheckRequest(service=policy)
        check = health_pb2_grpc.HealthStub(channel).Check
        try:
            answer = check(request, timeout=ATTEMPT_TIMEOUT_S, metadata=Bearer(credentials).metadata())
        except grpc.RpcError as error:
            return _of_error(error.code(), error.details() or "", policy)
    if answer.status == SERVING:
        return State()
    return State(f"it answers, and {policy!r} is not live yet" if policy else ANSWERS_NOTHING)


def _of_error(code: grpc.StatusCode, details: str, policy: str) -> State:
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return _of_connection(details)
        case grpc.StatusCode.NOT_FOUND:
            return State(f"it answers, and has no policy {policy!r}; see `polserve policies`")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return State(f"no answer within {ATTEMPT_TIMEOUT_S:g} s", is_there=False)
        case grpc.StatusCode.UNIMPLEMENTED:
            return State("another service answers there: it has no health check", is_there=False, is_hopeless=True)
    return State(f"{code.name}: {details}")


def _of_connection(details: str) -> State:
    """Read off gRPC's words why no connection came about."""
    hopeless = {
        "Failed parsing HTTP/2": "what answers there speaks no gRPC; polserve's own HTTP port does not either",
        "CERTIFICATE_VERIFY_FAILED": "this client does not trust its certificate; set POLSERVE_CA to its authority",
        "WRONG_VERSION_NUMBER": "it speaks no TLS; unset POLSERVE_TLS and POLSERVE_CA, or start it with --tls-cert",
        "resolving": "the host has no address",
        "resolution": "the host has no address",
    }
    for sign, reason in hopeless.items():
        if sign in details:
            return State(reason, is_there=False, is_hopeless=True)
    if "Socket closed" in details:
        wanted = "POLSERVE_TLS or POLSERVE_CA if it has --tls-cert, POLSERVE_CLIENT_CERT if it has --tls-client-ca"
        return State(f"Socket closed; set {wanted}", is_there=False)
    reason = "nobody listens there" if "refused" in details else details.rpartition("last error: ")[2]
    return State(reason, is_there=False)
