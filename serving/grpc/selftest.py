"""Whether the completion loop can be trusted on this machine: a small server is called, and must do as a public one."""

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import structlog

from polserve.serving.grpc.act import Call
from polserve.serving.grpc.completion import TESTED_SERIES, CompletionLoop
from polserve.serving.grpc.statuses import Status

METHOD = "/polserve.SelfTest/Echo"
TIMEOUT_S = 2.0
REFUSAL = Status(grpc.StatusCode.RESOURCE_EXHAUSTED, "selftest", (("key", "value"),))

log = structlog.get_logger()


class _Uncounted:
    """Calls of the self-test are in no metric."""

    def begin(self) -> float:
        return 0.0

    def end(self, started: float, code: str) -> None:
        pass


def is_loop_usable() -> bool:
    """Whether a CompletionLoop answers, refuses, tells of cancellations, and stops."""
    series = ".".join(grpc.__version__.split(".")[:2])
    if series not in TESTED_SERIES:
        log.warning("completion_loop_untested", grpcio=grpc.__version__, tested=" ".join(TESTED_SERIES))
        return False
    try:
        problem = _run()
    except Exception as error:  # noqa: BLE001 - whatever a private interface raises, the public one can serve
        problem = f"{type(error).__name__}: {error}"
    if problem:
        log.warning("completion_loop_unusable", problem=problem)
    return not problem


def _run() -> str:
    """What the loop does wrong; empty if nothing."""
    held: list[Call] = []
    is_held = threading.Event()

    def handle(calls: Sequence[Call]) -> None:
        for call in calls:
            react(call)

    def react(call: Call) -> None:
        if call.message == b"hold":
            held.append(call)
            is_held.set()
        elif call.message == b"refuse":
            call.fail(REFUSAL)
        else:
            call.reply(call.message)

    server = grpc.server(ThreadPoolExecutor(1))
    loop = CompletionLoop(server, METHOD, handle, _Uncounted(), max_waiting=1)
    address = f"unix-abstract:polserve-selftest-{uuid.uuid4().hex}"
    server.add_insecure_port(address)
    server.start()
    loop.start()
    try:
        with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
            echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            return _check_answers(echo) or _check_giving_up(echo, held, is_held)
    finally:
        for call in held:
            call.fail(REFUSAL)
        server.stop(0).wait(TIMEOUT_S)
        loop.stop()


def _check_answers(echo: "grpc.UnaryUnaryMultiCallable[bytes, bytes]") -> str:
    for message in (b"", b"message", bytes(100_000)):
        if echo(message, timeout=TIMEOUT_S) != message:
            return "a message came back changed"
    try:
        echo(b"refuse", timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        trailing = tuple((item[0], item[1]) for item in error.trailing_metadata() or ())  # type: ignore[index]
        if Status(error.code(), error.details() or "", trailing) != REFUSAL:
            return f"a refusal came back as {error.code()} {error.details()!r} {trailing}"
        return ""
    return "a refusal came back as an answer"


def _check_giving_up(
    echo: "grpc.UnaryUnaryMultiCallable[bytes, bytes]", held: list[Call], is_held: threading.Event
) -> str:
    pending = echo.future(b"hold", timeout=10 * TIMEOUT_S)
    if not is_held.wait(TIMEOUT_S) or not held[0].is_wanted():
        return "a call did not arrive, or was given up by itself"
    pending.cancel()
    pause = threading.Event()
    for _ in range(200):
        if not held[0].is_wanted():
            return ""
        pause.wait(TIMEOUT_S / 200)
    return "a cancelled call was never told of"
