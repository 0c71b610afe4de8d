"""Who calls over grpcio's public server, found out in the thread that waits for the call."""

from typing import Any
from urllib.parse import unquote

import grpc

from polserve.serving.access.guard import Guard, Shown
from polserve.serving.access.keys import FETCH_S, KeysAwaited
from polserve.serving.errors import NotReady
from polserve.serving.grpc.thread_calls import ThreadStreamCall, ThreadUnaryCall
from polserve.serving.peers import UNNAMED

_NAMES = ("x509_subject_alternative_name", "x509_common_name")
"""Where gRPC says the names in a certificate."""


def admit(guard: Guard, call: ThreadUnaryCall | ThreadStreamCall, context: grpc.ServicerContext) -> None:
    """Note who calls, or why they may not; waits where keys are being fetched. On any thread but the loop's."""
    if guard.is_open:
        return
    shown = _shown(call, context)
    try:
        try:
            call.caller = guard.admit(call.method.needs, shown)
        except KeysAwaited as awaited:
            awaited.fetched.result(FETCH_S + 1.0)
            call.caller = guard.admit(call.method.needs, shown)
    except TimeoutError:
        call.refusal = NotReady("the keys that tokens are checked with are still being fetched; try again")
    except Exception as error:  # noqa: BLE001 - every error must become a status, when the call begins
        call.refusal = error


def _shown(call: ThreadUnaryCall | ThreadStreamCall, context: grpc.ServicerContext) -> Shown:
    told: Any = context.auth_context()
    named = [name.decode(errors="replace") for place in _NAMES for name in told.get(place, ())]
    if not named and "x509_pem_cert" in told:
        named = [UNNAMED]
    authorization = next((value for key, value in context.invocation_metadata() if key == "authorization"), "")
    kind, _, address = unquote(context.peer()).partition(":")
    return Shown(
        authorization.encode() if isinstance(authorization, str) else authorization,
        tuple(named),
        address.rpartition(":")[0].strip("[]") or kind,
        call.method.path,
        is_local=kind == "unix",
        request_id=call.request_id,
    )
