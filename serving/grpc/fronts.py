"""Which front carries the calls: nghttp2 where it works, else grpcio's public server."""

import asyncio
import math
from collections.abc import Sequence
from typing import Literal

from polserve.serving.errors import ConfigurationError, one_line
from polserve.serving.grpc.carrier import Carrier
from polserve.serving.grpc.listener import Ways
from polserve.serving.logs import Log
from polserve.serving.methods import Method
from polserve.serving.rounds import Rounds
from polserve.serving.settings.settings import Settings

LARGE_MESSAGES = 4
"""As many of the largest messages may be in hand at once."""

log = Log()


def choose_front(wanted: str) -> Literal["nghttp2", "grpcio"]:
    """Return the front to use.

    Args:
        wanted: one of the two, or "auto" for the first where it works.

    Raises:
        ConfigurationError: nghttp2 is wanted, and does not work here.
    """
    if wanted == "grpcio":
        return "grpcio"
    try:
        from polserve.serving.http2 import engine

        engine.self_test()
    except Exception as error:
        problem = f"{type(error).__name__}: {one_line(error)}"
        if wanted == "nghttp2":
            raise ConfigurationError(
                f"front: expected one that works on this machine, got nghttp2 ({problem}); "
                "install ngh2, or choose --front grpcio"
            ) from error
        log.warning("front_unusable", front="nghttp2", problem=problem, used="grpcio")
        return "grpcio"
    return "nghttp2"


def most_streams(front: str) -> int:
    """How many streams a front can hold open."""
    if choose_front(front) == "nghttp2":
        return 2**31
    from polserve.serving.grpc.threads import MOST_STREAMS

    return MOST_STREAMS - 4  # which are for those that are refused


def make_carrier(
    settings: Settings,
    methods: Sequence[Method],
    rounds: Rounds,
    loop: asyncio.AbstractEventLoop,
    ways: Ways,
) -> Carrier:
    """Make the carrier that the settings name; "auto" stands for one that was chosen by `choose_front`.

    Args:
        settings: those of the service.
        methods: what can be called.
        rounds: collects the calls.
        loop: answers them.
        ways: by which clients come; with grpcio each process binds a port of its own, and the kernel chooses.
    """
    max_message_bytes = settings.max_message_mib * 2**20
    max_age_s = settings.connection_age if settings.workers > 1 else math.inf
    if choose_front(settings.front) == "nghttp2":
        from polserve.serving.grpc.nghttp2 import Nghttp2Carrier
        from polserve.serving.grpc.shared import ConnectionLimits

        limits = ConnectionLimits(
            max_message_bytes=max_message_bytes,
            max_streams=settings.max_streams,
            max_reserved_bytes=LARGE_MESSAGES * max_message_bytes,
            keepalive_s=settings.keepalive,
            max_age_s=max_age_s,
            max_metadata_bytes=settings.max_metadata_kib * 1024,
            max_connections=-(-settings.max_connections // settings.workers),
            stall_s=settings.stall_timeout,
        )
        return Nghttp2Carrier(methods, rounds, limits, ways)
    from polserve.serving.grpc.threads import GrpcioCarrier, ServerLimits

    server = ServerLimits(
        max_message_bytes=max_message_bytes,
        max_streams=settings.max_streams,
        max_calls=settings.max_waiting + settings.max_episodes,
        keepalive_s=settings.keepalive,
        max_age_s=max_age_s,
        is_port_shared=settings.workers > 1,
        max_metadata_bytes=settings.max_metadata_kib * 1024,
        max_connections=-(-settings.max_connections // settings.workers),
    )
    return GrpcioCarrier(methods, rounds, loop, server, ways)
