"""A real service in a child process, for as long as a test needs it."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from polserve.serving.client.arguments import timeout_of
from polserve.serving.client.channel import channel_options
from polserve.serving.client.errors import InvalidArgument, described

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 15.0
POLL_S = 0.05
MOST_LOG = 2_000
"""Characters of the service's output that an error repeats."""

_ANNOUNCED = re.compile(r"^polserve: gRPC (\S+),", re.MULTILINE)


class ServiceFailed(RuntimeError):
    """The service of a test did not start."""


@contextlib.contextmanager
def service(
    policies: str | os.PathLike[str] | None = None,
    *,
    options: Sequence[str] = (),
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[str]:
    """Run `polserve serve` on free ports of this machine until the block is left; the value is the target for a client.

    Variables of the environment that begin with POLSERVE_ or MLFLOW_ are not passed on, so that a test means the same
    everywhere. For the same reason it knows nothing of services that followed the folder before.

    Args:
        policies: a folder of policies/<name>/<version>/; None for the bundled policies.
        options: further options of `polserve serve`, such as ["--policy", "cartpole"].
        timeout_s: seconds in which it must be ready.

    Raises:
        InvalidArgument: an argument is not what it must be.
        ServiceFailed: the service ended, or was not ready in time; with the end of what it printed.
    """
    command = [sys.executable, "-m", "polserve", "serve", "--grpc-port", "0", "--http-port", "0"]
    if policies is not None:
        command += ["--policies", str(_folder(policies))]
    until = time.monotonic() + timeout_of(timeout_s)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command += ["--cache-dir", str(folder / "cache"), *(str(option) for option in options)]
        process = stack.enter_context(_process(command, log := folder / "log"))
        target = _announced(process, log, until)
        while not _is_ready(target):
            _check(process, log, until)
        yield target


def _folder(policies: str | os.PathLike[str]) -> Path:
    if not isinstance(policies, (str, os.PathLike)) or not Path(policies).is_dir():
        raise InvalidArgument("policies", "a folder of policies/<name>/<version>/, or None", described(policies))
    return Path(policies).absolute()


@contextlib.contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a child process, which is asked to end when the block is left, and killed where it does not."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("POLSERVE_", "MLFLOW_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=ours)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _announced(process: "subprocess.Popen[bytes]", log: Path, until: float) -> str:
    """Return the target that the service prints once it listens."""
    while True:
        found = _ANNOUNCED.search(_printed(log))
        if found is not None:
            return found[1]
        _check(process, log, until)


def _check(process: "subprocess.Popen[bytes]", log: Path, until: float) -> None:
    """Wait a moment; raise ServiceFailed where the service ended, or the time is over."""
    if process.poll() is not None:
        said = _printed(log)[-MOST_LOG:].strip()
        raise ServiceFailed(f"polserve serve ended with exit code {process.returncode}: {said}")
    if time.monotonic() > until:
        raise ServiceFailed(f"polserve serve was not ready in time: {_printed(log)[-MOST_LOG:].strip()}")
    time.sleep(POLL_S)


def _printed(log: Path) -> str:
    """Return what the service has printed so far."""
    return log.read_text(errors="replace")


def _is_ready(target: str) -> bool:
    with grpc.insecure_channel(target, options=channel_options(target, None)) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
