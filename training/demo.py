"""The main job from end to end on this machine: `python -m polserve.training.demo [--once]`.

A local MLflow server on SQLite, two CartPole policies trained and registered, the second promoted on evidence, the
service following the registry, and whole episodes of the real environment played against it. Everything is kept in the
folder `demo`; run again, the demo adds one version and asks whether it is as good as the champion.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

import numpy as np
from rich.console import Console

from polserve.protos.shared.figures import figure
from polserve.protos.shared.hosts import no_proxy
from polserve.serving.client import PolicyClient
from polserve.training.environments.making import EVALUATION_FIRST_SEED
from polserve.training.evaluation.episodes import play_episodes, random_policy
from polserve.training.play import Player, environment_of, play_on_service

POLICY = "cartpole"
EPISODES = 10
WEAK = tuple(
    f"--set={setting}"
    for setting in ("stop_return=150", "evaluate_every=1000", "selection_episodes=20", "evaluation_episodes=20")
)
"""Training ends long before the policy is good, so that there is something to improve on."""
GAMES = ("--episodes", "100")
FOLDER = Path("demo")
WORD_INTERVAL_S = 4.0
"""The time between two lines that say who is waited for."""
LAST_LINES = 15
"""Last lines of the log of a server that ended, which are shown."""
STOP_TIMEOUT_S = 15.0
HERE = "127.0.0.1"

console = Console(highlight=False, soft_wrap=True)
local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The opener that asks servers on this machine, through no proxy."""


def main(*, is_once: bool) -> None:
    """Run the demo; without `is_once` the servers go on until Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        mlflow_url = f"http://{HERE}:{free_port(5000)}"
        grpc_port, http_port = free_port(50051), free_port(8080)
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = no_proxy(os.environ)  # every server is on this machine
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": mlflow_url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nothing here uses
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "ORT_DISABLE_TELEMETRY": "1",
        }
        console.print("1. MLflow on SQLite, which takes a while to start:")
        stack.enter_context(_mlflow_server(mlflow_url, environment))
        console.print(f"   {mlflow_url}")
        _train_and_promote(mlflow_url, environment)
        console.print("4. polserve, which follows the registry:")
        stack.enter_context(_service(grpc_port, http_port, environment))
        console.print(f"   gRPC {HERE}:{grpc_port}, what is live http://{HERE}:{http_port}/")
        _report(stack.enter_context(PolicyClient(f"{HERE}:{grpc_port}")))
        console.print(f"done in {time.monotonic() - started:.0f} s")
        if not is_once:
            console.print(f"try: polserve act {POLICY} --observation '[0, 0, 0.1, 0.5]' --target {HERE}:{grpc_port}")
            console.print(f"MLflow {mlflow_url} and polserve {HERE}:{grpc_port} run on; Ctrl-C ends them")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


def _train_and_promote(mlflow_url: str, environment: Mapping[str, str]) -> None:
    """Two versions and a promotion; where an earlier demo left a champion, one more version and a promotion."""
    if _has_champion(mlflow_url):
        console.print("2. a champion is there from an earlier demo; train one more version of its like:")
        _polserve("train", POLICY, *_run_folder(), environment=environment)
        console.print("3. is it as good as the champion? Both play the same games:")
        _polserve("promote", POLICY, "--rule", "not-worse", *GAMES, environment=environment)
        return
    console.print("2. train, evaluate, export and register two versions. A weak one, which is champion by itself:")
    _polserve("train", POLICY, *_run_folder(), *WEAK, environment=environment)
    console.print("   and one that learns on until it balances the pole to the end of every game:")
    _polserve("train", POLICY, *_run_folder(), "--seed", "1", environment=environment)
    console.print("3. is the second better? Both play the same games, and the evidence decides:")
    _polserve("promote", POLICY, *GAMES, environment=environment)


def _run_folder() -> tuple[str, str]:
    """Return the option that keeps a run apart from those of earlier demos."""
    return "--run-dir", tempfile.mkdtemp(prefix="run-", dir=FOLDER)


def _has_champion(mlflow_url: str) -> bool:
    alias = f"{mlflow_url}/api/2.0/mlflow/registered-models/alias?name={POLICY}&alias=champion"
    with contextlib.suppress(OSError), local.open(alias, timeout=30) as answer:
        return bool(answer.status == HTTPStatus.OK)
    return False


def free_port(preferred: int) -> int:
    """Return `preferred` if nobody listens there, else a port that is free now."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
            probe.bind((HERE, port))
            return int(probe.getsockname()[1])
    raise OSError(f"no free port on {HERE}")


def _report(client: PolicyClient) -> None:
    """Play over the wire and print the returns beside the random agent's."""
    environment = environment_of(Player(client, POLICY))
    played = list(play_on_service(Player(client, POLICY), EPISODES))
    at_random = play_episodes(random_policy(environment, 0), environment, EPISODES, EVALUATION_FIRST_SEED)
    versions = ", ".join(sorted({f"{POLICY}/{version}" for episode in played for version in episode.versions}))
    console.print(f"5. {EPISODES} episodes of {environment.id} over gRPC, answered by {versions}:")
    console.print(f"   mean return {figure(float(np.mean([episode.episode_return for episode in played])))}")
    console.print(f"   random agent {figure(float(np.mean([episode.episode_return for episode in at_random])))}")


@contextmanager
def _mlflow_server(url: str, environment: Mapping[str, str]) -> Iterator[None]:
    store = (FOLDER / "mlflow.db").resolve()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HERE, "--port", url.rsplit(":", 1)[1]),
        *("--backend-store-uri", f"sqlite:///{store}", "--workers", "1"),
        *("--artifacts-destination", str((FOLDER / "artifacts").resolve())),
    ]
    with running(command, environment, FOLDER / "mlflow.log") as server:
        server.wait_for_page("MLflow", f"{url}/health")
        yield


@contextmanager
def _service(grpc_port: int, http_port: int, environment: Mapping[str, str]) -> Iterator[None]:
    command = [
        *(sys.executable, "-m", "polserve", "serve", "--grpc-port", str(grpc_port), "--http-port", str(http_port)),
        *("--cache-dir", tempfile.mkdtemp(prefix="cache-", dir=FOLDER), "--poll-interval", "2"),
    ]
    with running(command, environment, FOLDER / "polserve.log") as server:
        server.wait_for_page("polserve", f"http://{HERE}:{http_port}/readyz")
        yield


@dataclass(frozen=True, slots=True)
class Server:
    """A program that was started, and its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_for_page(self, name: str, url: str) -> None:
        """Return once `url` answers well; say that it is waited for, as long as the program runs."""
        began = told = time.monotonic()
        while not _is_good(url):
            if self.process.poll() is not None:
                last = "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
                raise SystemExit(
                    f"{name} ended with exit code {self.process.returncode}; the last lines of {self.log}:\n{last}"
                )
            if time.monotonic() - told > WORD_INTERVAL_S:
                told = time.monotonic()
                console.print(f"   waiting for {name}, {told - began:.0f} s")
            time.sleep(0.2)


def _is_good(url: str) -> bool:
    try:
        with local.open(url, timeout=5):
            return True
    except (OSError, HTTPException):  # nobody listens, it is not ready, or it takes more than five seconds
        return False


@contextmanager
def running(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Run a program until the block ends; its output goes to `log`."""
    with log.open("w") as output:
        # In a session of its own, so that Ctrl-C reaches it only through us, and its children end with it.
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, stdout=output, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True
        )
    try:
        yield Server(process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _polserve(*arguments: str, environment: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "polserve", *arguments], check=True, env=dict(environment))  # noqa: S603


if __name__ == "__main__":
    try:
        main(is_once="--once" in sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command has said why
