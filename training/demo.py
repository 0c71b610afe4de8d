"""The main job from end to end on this machine: `python -m training.demo [--once]`.

A local MLflow server on SQLite, a CartPole policy trained, registered and promoted, the service following the
registry, and whole episodes of the real environment played against it. Everything is kept in the folder `demo`.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console

from serving.client import ClientError, PolicyClient
from training.envs import EVALUATION_FIRST_SEED, EnvironmentSpec
from training.evaluate import play_episodes, random_policy
from training.play import Player, environment_of, play

POLICY = "cartpole"
EPISODES = 10
PROMOTION = ("--rule", "not-worse", "--episodes", "100")
"""For a demo that is run again: its next version has the return of the first, which is the most there is."""
FOLDER = Path("demo")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0

console = Console(highlight=False, soft_wrap=True)


def main(*, is_once: bool) -> None:
    """Run the demo; without `is_once` the servers go on until Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        mlflow_url = f"http://127.0.0.1:{free_port(5000)}"
        grpc_port, http_port = free_port(50051), free_port(8080)
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": mlflow_url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "ORT_DISABLE_TELEMETRY": "1",
        }
        stack.enter_context(_mlflow_server(mlflow_url, environment))
        console.print(f"1. MLflow on SQLite: {mlflow_url}")
        console.print("2. train, evaluate, export and register:")
        _polserve("train", POLICY, "--run-dir", str(FOLDER / "run"), environment=environment)
        console.print("3. promote:")
        _polserve("promote", POLICY, *PROMOTION, environment=environment)
        stack.enter_context(_service(grpc_port, http_port, environment))
        console.print(f"4. polserve: gRPC 127.0.0.1:{grpc_port}, metrics http://127.0.0.1:{http_port}/metrics")
        _report(stack.enter_context(PolicyClient(f"127.0.0.1:{grpc_port}")))
        console.print(f"done in {time.monotonic() - started:.0f} s")
        if not is_once:
            console.print(f"try: polserve act {POLICY} --observation '[0, 0, 0, 0]' --target 127.0.0.1:{grpc_port}")
            console.print(f"MLflow {mlflow_url} and polserve 127.0.0.1:{grpc_port} run on; Ctrl-C ends them")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


def free_port(preferred: int) -> int:
    """`preferred` if nobody listens there, else a port that is free now."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def _report(client: PolicyClient) -> None:
    """Play over the wire and print the returns beside the random agent's."""
    environment = _wait_for_policy(client)
    played = list(play(Player(client, POLICY), EPISODES))
    at_random = play_episodes(random_policy(environment, 0), environment, EPISODES, EVALUATION_FIRST_SEED)
    versions = ", ".join(sorted({f"{POLICY}/{version}" for episode in played for version in episode.versions}))
    console.print(f"5. {EPISODES} episodes of {environment.id} over gRPC, answered by {versions}:")
    console.print(f"   mean return {np.mean([episode.episode_return for episode in played]):.1f}")
    console.print(f"   random agent {np.mean([episode.episode_return for episode in at_random]):.1f}")


def _wait_for_policy(client: PolicyClient) -> EnvironmentSpec:
    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return environment_of(Player(client, POLICY))
        except ClientError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


@contextmanager
def _mlflow_server(url: str, environment: Mapping[str, str]) -> Iterator[None]:
    store = (FOLDER / "mlflow.db").resolve()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1]),
        *("--backend-store-uri", f"sqlite:///{store}", "--workers", "1"),
        *("--artifacts-destination", str((FOLDER / "artifacts").resolve())),
    ]
    with _process(command, environment, FOLDER / "mlflow.log") as process:
        _wait_for_page(f"{url}/health", process)
        yield


@contextmanager
def _service(grpc_port: int, http_port: int, environment: Mapping[str, str]) -> Iterator[None]:
    command = [
        *(sys.executable, "-m", "serving.cli", "serve", "--grpc-port", str(grpc_port), "--http-port", str(http_port)),
        *("--cache-dir", str(FOLDER / "cache"), "--poll-interval", "2"),
    ]
    with _process(command, environment, FOLDER / "polserve.log") as process:
        _wait_for_page(f"http://127.0.0.1:{http_port}/readyz", process)
        yield


@contextmanager
def _process(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that runs until the block ends; its output goes to `log`."""
    with log.open("w") as output:
        # In a session of its own, so that Ctrl-C reaches it only through us, and its children end with it.
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, stdout=output, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _polserve(*arguments: str, environment: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "serving.cli", *arguments], check=True, env=dict(environment))  # noqa: S603


def _wait_for_page(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Return once `url` answers 200."""
    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own http:// address
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"no good answer from {url}; the logs in {FOLDER}/ say why") from None
            time.sleep(0.2)


if __name__ == "__main__":
    try:
        main(is_once="--once" in sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command has said why
