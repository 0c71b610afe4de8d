"""What 10,000 open episodes cost while nobody plays them: latency of other calls, memory and threads.

A service with the episodes and one without take turns in this run. Then a client with 5,000 of them is killed.
"""

import contextlib
import socket
import struct
import time
from statistics import median
from typing import Self

from benchmarks.act import CARTPOLE, EIGHT, Report, take_turns
from benchmarks.load import Server, polserve, require_h2load
from benchmarks.steps import EPISODE, START
from benchmarks.tables import finish, options, show
from polserve.serving.http2 import engine
from polserve.serving.http2.wire import frame

N = 10_000
ON_A_CONNECTION = 1_000
KILLED = 5_000
GAUGE = "polserve_episodes_active"


class Holder:
    """A connection that holds episodes open, each after its first answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._h2 = engine.client_connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, n: int) -> None:
        """Begin so many episodes, and wait for the first answer of each."""
        headers = {":method": "POST", ":scheme": "http", ":path": EPISODE, ":authority": "polserve"}
        headers |= {"content-type": "application/grpc", "te": "trailers"}
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        for _ in range(n):
            self._h2.send_data(self._h2.send_request(fields), frame(START))
        n_answered = 0
        while n_answered < n:
            self._socket.sendall(self._h2.data_to_send())
            self._h2.receive_data(self._socket.recv(1 << 16))
            n_answered += sum(isinstance(event, engine.DataReceived) for event in self._h2.events())

    def kill(self) -> None:
        """Reset the connection, as the kernel does for a process that was killed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def n_open(server: Server) -> int:
    """Count the episodes that a service says are open."""
    return int(server.sample(GAUGE))


def hold(server: Server, n: int, stack: contextlib.ExitStack) -> None:
    """Open n episodes on a service, until the stack is left."""
    for _ in range(n // ON_A_CONNECTION):
        stack.enter_context(Holder(server.port)).open(ON_A_CONNECTION)


def gone_after_s(server: Server) -> float:
    """Open 5,000 episodes over one connection and kill it; return the seconds until nothing of them is left."""
    with Holder(server.port) as holder:
        holder.open(KILLED)
        started = time.perf_counter()
        holder.kill()
        while n_open(server):
            time.sleep(0.005)
        return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__ or "").parse_args()
    rounds, calls = (3, 10_000) if arguments.quick else (15, 40_000)
    require_h2load()
    report = Report()
    with contextlib.ExitStack() as stack:
        ours, without = (stack.enter_context(polserve("--max-streams", str(KILLED))) for _ in range(2))
        for server in (ours, without):
            server.drive(CARTPOLE, EIGHT, calls)
        threads, mib = ours.n_threads(), ours.resident_mib()
        with contextlib.ExitStack() as held:
            hold(ours, N, held)
            more_threads, kib = ours.n_threads() - threads, 1024 * (ours.resident_mib() - mib) / N
            if n_open(ours) != N:
                raise SystemExit(f"expected {N} open episodes, got {n_open(ours)}")
            beside, alone = take_turns([(side, CARTPOLE, EIGHT, calls) for side in (ours, without)], rounds)
            title = f"p99 of Act, {EIGHT}, with {N:,} idle episodes, to without"
            report.line("idle_p99", title, beside.p99_ms, alone.p99_ms, "<= 1.1")
            report.line("idle_cpu", "CPU of the same Act, likewise", beside.cpu_ms, alone.cpu_ms, "")
        report.line("idle_kib", "an idle open episode, memory, to 4 KiB", kib, 4, "<= 1", "KiB")
        report.figures["idle_threads"] = more_threads
        while n_open(ours):
            time.sleep(0.05)
        gone_s = median(gone_after_s(ours) for _ in range(3))
        title = f"a client with {KILLED:,} episodes is killed: nothing of them is left after, to 1 s"
        report.line("killed_s", title, gone_s, 1.0, "<= 1", "s")
    show(f"idle episodes, medians of {rounds}", ("what", "ours", "theirs", "ratio", "asked"), report.rows)
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
