"""Calls that arrive at a fixed rate, whether or not those before are answered, over a few connections.

Run as a program by `arriving`: it makes them, of the request on its standard input, and prints as JSON what became of
them. A process of its own, since it shares two cores with the service. As gRPC's clients do, it gives up a call at its
deadline, also one that still waits for a free stream.
"""

import argparse
import json
import selectors
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.lean_link import REFUSED_STREAM, Link
from benchmarks.load import ROOT, Server
from polserve.serving.http2.wire import frame

TICK_S = 1e-3
DRAIN_S = 2.0
"""Time for the last answers."""


@dataclass(slots=True)
class Arrivals:
    """What became of the calls that were due after the warm-up."""

    n_due: int = 0
    """Calls that were due."""
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    """Seconds from when each answered call was due to its answer."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Calls by the number of their gRPC status; "late" were not answered in time, "unsent" found no stream in
    time, "lost" lost their connection; "reset N" and "none" were answered with no status."""
    refusal_latencies_s: list[float] = field(default_factory=list)
    """The same of calls that were refused with RESOURCE_EXHAUSTED."""
    behind_s: float = 0.0
    """Most by which the client itself was late to make a call: where that is much, it was what could not keep up."""
    failed_at: list[float] = field(default_factory=list)
    """When each call failed that was neither answered nor refused, by the monotonic clock that all processes share."""

    @property
    def good_per_s(self) -> float:
        """Calls a second that were answered with OK."""
        return len(self.latencies_s) / self.seconds

    def p99_ms(self) -> float:
        """99th percentile of the latency of calls that were answered, in milliseconds."""
        return 1000 * float(np.quantile(self.latencies_s, 0.99)) if self.latencies_s else float("inf")


class Generator:
    """Makes the calls."""

    def __init__(self, options: argparse.Namespace, message: bytes) -> None:
        """Connect for calls of a message, as the options of the program say."""
        self._rate, self._seconds, self._warm_up_s = options.rate, options.seconds, options.warm_up
        self._timeout_s = options.timeout
        self._body = frame(message)
        headers = {":method": "POST", ":scheme": "http", ":path": f"/{options.method}", ":authority": "polserve"}
        headers |= {"content-type": "application/grpc", "te": "trailers"}
        if options.bearer:
            headers["authorization"] = f"Bearer {options.bearer}"
        self._headers = list(headers.items())
        self._port, self._is_encrypted = options.port, options.tls
        self._selector = selectors.DefaultSelector()
        self._links = [self._connect() for _ in range(options.connections)]
        self._leaving: list[Link] = []
        self._found = Arrivals()
        self._from = 0.0
        """When the warm-up ends."""

    def run(self) -> Arrivals:
        """Make the calls; return what became of them."""
        began = time.perf_counter()
        self._from = began + self._warm_up_s
        until = self._from + self._seconds
        n = 0
        while (now := time.perf_counter()) < until + DRAIN_S:
            while (due := began + n / self._rate) <= min(now, until):
                self._links[n % len(self._links)].waiting.append(due)
                n += 1
                if due >= self._from:
                    self._found.n_due += 1
                    self._found.behind_s = max(self._found.behind_s, now - due)
            if now > until and not any(link.due or link.waiting for link in (*self._links, *self._leaving)):
                break
            self._turn(now)
        self._found.seconds = self._seconds
        for link in (*self._links, *self._leaving):
            self._count("late", sum(due >= self._from for due in link.due.values()))
            self._count("unsent", sum(due >= self._from for due in link.waiting))
            link.socket.close()
        return self._found

    def _turn(self, now: float) -> None:
        """Send what can be sent, and read what has come."""
        for link in (*self._links, *self._leaving):
            if self._timeout_s:
                for stream_id in link.give_up(now - self._timeout_s):
                    self._end(link, stream_id, "late", now)
            for due in link.flush(now, self._timeout_s):
                self._note("unsent", due, now)
        for key, _ in self._selector.select(TICK_S):
            read_at = time.perf_counter()
            for stream_id, status in key.data.receive():
                self._end(key.data, stream_id, status, read_at)
        self._replace()

    def _connect(self) -> Link:
        link = Link(self._port, self._headers, self._body, is_encrypted=self._is_encrypted)
        self._selector.register(link.socket, selectors.EVENT_READ, link)
        return link

    def _replace(self) -> None:
        """Connect again where a connection has ended, or the service asked to."""
        for i, link in enumerate(self._links):
            if link.is_closed or link.is_leaving:
                self._leaving.append(link)
                self._links[i] = self._connect()
                self._links[i].waiting, link.waiting = link.waiting, self._links[i].waiting
        for link in [link for link in self._leaving if link.is_closed or not link.due]:
            self._leaving.remove(link)
            for stream_id in list(link.due):
                self._end(link, stream_id, "lost", time.perf_counter())
            self._selector.unregister(link.socket)
            link.socket.close()

    def _end(self, link: Link, stream_id: int, status: str, now: float) -> None:
        due = link.due.pop(stream_id, None)
        if due is None:
            return
        if status == REFUSED_STREAM:  # nobody has looked at the call: gRPC's clients make it again
            is_over = link.is_leaving or link.is_closed
            (min(self._links, key=lambda one: len(one.waiting)) if is_over else link).call_again(due)
        else:
            self._note(status, due, now)

    def _note(self, status: str, due: float, now: float) -> None:
        if due < self._from:
            return
        took_s = now - due
        if status == "0" and self._timeout_s and took_s > self._timeout_s:
            status = "late"
        if status == "0":
            self._found.latencies_s.append(took_s)
        elif status == "8":
            self._found.refusal_latencies_s.append(took_s)
        else:
            self._found.failed_at.append(time.monotonic())
        self._count(status, 1)

    def _count(self, status: str, n: int) -> None:
        self._found.statuses[status] = self._found.statuses.get(status, 0) + n


@dataclass(frozen=True, slots=True)
class Plan:
    """How calls arrive."""

    rate: float
    """Calls a second."""
    seconds: float
    connections: int = 16
    timeout_s: float = 1.0
    """Deadline of each call; 0 for none."""
    warm_up_s: float = 2.0


def arriving(server: Server, message: bytes, plan: Plan) -> Arrivals:
    """Let calls arrive at a server; return what became of them."""
    command = [
        *(sys.executable, "-m", "benchmarks.arrivals", "--port", str(server.port), "--method", server.method),
        *("--rate", str(plan.rate), "--seconds", str(plan.seconds)),
        *("--connections", str(plan.connections), "--timeout", str(plan.timeout_s)),
        *("--warm-up", str(plan.warm_up_s), "--bearer", server.bearer),
        *(("--tls",) if server.is_encrypted else ()),
    ]
    found = subprocess.run(command, check=True, input=message, stdout=subprocess.PIPE, cwd=Path(ROOT))  # noqa: S603
    return Arrivals(**json.loads(found.stdout))


def main() -> None:
    """Make the calls that the options say, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--bearer", default="")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--connections", type=int, default=16)
    for name in ("rate", "seconds", "warm-up", "timeout"):
        parser.add_argument(f"--{name}", type=float, default=1.0)
    print(json.dumps(asdict(Generator(parser.parse_args(), sys.stdin.buffer.read()).run())))


if __name__ == "__main__":
    main()
