"""Calls that are held until it is known who calls: the keys that sign their tokens are being fetched."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from polserve.serving.access.guard import Shown
from polserve.serving.access.keys import KeysAwaited

if TYPE_CHECKING:
    from polserve.serving.grpc.stream import StreamCall


def admit(call: "StreamCall", fields: Mapping[bytes, bytes]) -> None:
    """Let a call begin whose caller may make it, now or when that is known; raises what refuses it.

    Args:
        call: has just come.
        fields: its headers.
    """
    front, connection = call.connection.front, call.connection
    if front.guard.is_open:
        call.method.handler.open(call)
        return
    method, peer = call.method, connection.peer
    shown = Shown(
        fields.get(b"authorization", b""),
        peer.certificate,
        peer.address,
        method.path,
        peer.is_local,
        call.request_id,
    )
    try:
        call.caller = front.guard.admit(method.needs, shown)
    except KeysAwaited as awaited:
        call.is_held = True
        call.wait()
        let_go = functools.partial(_let_go, call, shown)
        awaited.fetched.add_done_callback(lambda _done: front.rounds.post(let_go))
        return
    method.handler.open(call)


def _let_go(call: "StreamCall", shown: Shown) -> None:
    """Let a call go on, now that the keys have come."""
    if call.is_over:
        return
    try:
        call.caller = call.connection.front.guard.admit(call.method.needs, shown)
        call.method.handler.open(call)
    except Exception as error:  # noqa: BLE001 - every error must become a status
        call.fail(error)
    else:
        call.is_held = False
        if call.is_busy:
            call.connection.rounds.add(call)
        if call.is_half_closed:
            call.end_input()
