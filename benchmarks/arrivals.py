"""Calls that arrive at a fixed rate, whether or not those before are answered, over a few connections.

Run as a program by `arriving`: it makes them, of the request on its standard input, and prints as JSON what became of
them. A process of its own, since it shares two cores with the service; over nghttp2, since grpcio's client would cost
more than the service.
"""

import argparse
import json
import selectors
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.load import ROOT, Server
from polserve.serving.http2 import engine
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
    """Calls by the number of their gRPC status; "late" were not sent or answered in time."""
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


class Link:
    """A connection, and the calls that are open on it."""

    def __init__(self, port: int, *, is_encrypted: bool) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        if is_encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket)
        self.socket.setblocking(False)
        self.h2 = engine.client_connection()
        self.out = b""
        self.is_closed = self.is_leaving = False
        """Whether it is at its end, and whether the service asked to call elsewhere."""
        self.due: dict[int, float] = {}
        """When each open call was due, by its stream."""

    def flush(self) -> None:
        """Send what can be sent."""
        self.out += self.h2.data_to_send()
        while self.out:
            try:
                n = self.socket.send(self.out)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return
            except OSError:
                self.is_closed = True
                return
            self.out = self.out[n:]

    def receive(self) -> Iterator[object]:
        """Yield what came."""
        while True:
            try:
                data = self.socket.recv(1 << 18)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError:
                data = b""
            if not data:
                self.is_closed = True
                return
            self.h2.receive_data(data)
            yield from self.h2.events()


class Generator:
    """Makes the calls."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._rate, self._seconds, self._warm_up_s = options.rate, options.seconds, options.warm_up
        self._timeout_s = options.timeout
        self._body = frame(sys.stdin.buffer.read())
        headers = {":method": "POST", ":scheme": "http", ":path": f"/{options.method}", ":authority": "polserve"}
        headers |= {"content-type": "application/grpc", "te": "trailers"}
        if options.timeout:
            headers["grpc-timeout"] = f"{round(1000 * options.timeout)}m"
        if options.bearer:
            headers["authorization"] = f"Bearer {options.bearer}"
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
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
                self._begin(self._links[n % len(self._links)], due)
                n += 1
            if now > until and not any(link.due for link in self._links):
                break
            for link in self._links:
                link.flush()
            for key, _ in self._selector.select(TICK_S):
                self._receive(key.data)
            self._replace()
        self._found.seconds = self._seconds
        late = sum(due >= self._from for link in self._links for due in link.due.values())
        self._count("late", late)
        return self._found

    def _connect(self) -> Link:
        link = Link(self._port, is_encrypted=self._is_encrypted)
        self._selector.register(link.socket, selectors.EVENT_READ, link)
        link.flush()
        return link

    def _replace(self) -> None:
        """Connect again where a connection has ended, or the service asked to."""
        for i, link in enumerate(self._links):
            if link.is_closed or link.is_leaving:
                self._leaving.append(link)
                self._links[i] = self._connect()
        for link in [link for link in self._leaving if link.is_closed or not link.due]:
            self._leaving.remove(link)
            for stream_id in list(link.due):
                self._end(link, stream_id, "lost")
            self._selector.unregister(link.socket)
            link.socket.close()

    def _begin(self, link: Link, due: float) -> None:
        stream_id = link.h2.send_request(self._headers)
        link.h2.send_data(stream_id, self._body, end_stream=True)
        link.due[stream_id] = due
        if due >= self._from:
            self._found.n_due += 1
            self._found.behind_s = max(self._found.behind_s, time.perf_counter() - due)

    def _receive(self, link: Link) -> None:
        for event in link.receive():
            match event:
                case engine.ResponseReceived(end_stream=True) | engine.TrailersReceived():
                    self._end(link, event.stream_id, dict(event.headers).get(b"grpc-status", b"none").decode())
                case engine.GoAwayReceived():
                    link.is_leaving = True
                case engine.StreamReset():
                    self._end(link, event.stream_id, f"reset {event.error_code}")
                case engine.StreamClosed():
                    self._end(link, event.stream_id, f"closed {event.error_code}")

    def _end(self, link: Link, stream_id: int, status: str) -> None:
        due = link.due.pop(stream_id, None)
        if due is None or due < self._from:
            return
        took_s = time.perf_counter() - due
        if status == "0" and (not self._timeout_s or took_s <= self._timeout_s):
            self._found.latencies_s.append(took_s)
        if status == "8":
            self._found.refusal_latencies_s.append(took_s)
        if status not in ("0", "8"):
            self._found.failed_at.append(time.monotonic())
        self._count("late" if status == "0" and self._timeout_s and took_s > self._timeout_s else status, 1)

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
    print(json.dumps(asdict(Generator(parser.parse_args()).run())))


if __name__ == "__main__":
    main()
