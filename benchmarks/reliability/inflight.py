"""Thousands of calls in flight over TLS, each with a token, in closed loops, beside 64."""

import argparse
import contextlib
import re
import ssl
import tempfile
import urllib.request
from pathlib import Path

from benchmarks.act import CARTPOLE, EIGHT, Report
from benchmarks.load import Server, Shape, polserve
from benchmarks.security import write_certificate
from polserve.serving.access.access_file import add_token

MANY = (Shape(64, 128), Shape(256, 100))


def measure_in_flight(report: Report, arguments: argparse.Namespace) -> None:
    """Compare good answers for a CPU second of the service, and by the clock."""
    calls = 30_000 if arguments.quick else 200_000
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        certificate, key = write_certificate(folder)
        access = folder / "access.toml"
        token = add_token(access, "benchmark", "act", [], None)
        given = ("--tls-cert", str(certificate), "--tls-key", str(key), "--access", str(access))
        server = stack.enter_context(polserve("--policy", "cartpole", *given, bearer=token))
        for shape in MANY:
            few, by_clock = good_per_cpu_s(server, EIGHT, calls)
            ours, ours_by_clock = good_per_cpu_s(server, shape, max(calls, 2 * shape.connections * shape.streams))
            n = shape.connections * shape.streams
            title = f"{n:,} in flight with TLS and tokens: good answers for a CPU second, to 64"
            report.line(f"inflight_{n}", title, ours, few, ">= 0.9", "/s")
            report.line(f"inflight_{n}_clock", "the same by the clock", ours_by_clock, by_clock, "", "/s")
        report.line("inflight_mib", "resident memory after, to 256 MiB", server.resident_mib(), 256, "<= 1", "MiB")


def good_per_cpu_s(server: Server, shape: Shape, calls: int) -> tuple[float, float]:
    """Make the calls; return how many were answered with OK for a CPU second of the service, and for a second."""
    before = n_good(server)
    measured = server.drive(CARTPOLE, shape, calls)
    warm_up = max(calls // 10, shape.connections * shape.streams)
    share = (n_good(server) - before) / (calls + warm_up)
    return 1000 * share / measured.cpu_ms, share * measured.calls_per_s


def n_good(server: Server) -> float:
    """Return how many Acts the service has answered with OK."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    url = f"{'https' if server.is_encrypted else 'http'}://127.0.0.1:{server.http_port}/metrics"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {server.bearer}"})  # noqa: S310 - our own
    with urllib.request.urlopen(request, context=trusting, timeout=60) as page:  # noqa: S310 - likewise
        text = page.read().decode()
    found = re.search(r'grpc_server_handled_total\{grpc_code="OK",grpc_method="Act"[^}]*\} (\S+)', text)
    return float(found[1]) if found else 0.0
