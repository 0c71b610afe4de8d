"""Promotions under load: a real MLflow server, a service that follows it, and clients that call all the time.

The alias goes back and forth between two versions, one of which always answers 0 and the other 1, so that an answer
that names the wrong version shows. Stretches with and without promotions take turns.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mlflow import MlflowClient
from numpy.typing import NDArray

from benchmarks.callers import Calls, calling
from benchmarks.load import free_port
from benchmarks.tables import finish, options, show
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import CHAMPION
from polserve.serving.client import PolicyClient
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.evaluation.statistics import summarise
from polserve.training.learning.hyperparameters import NetworkConfig
from polserve.training.learning.networks import GreedyPolicy, ValueNetwork
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.tasks.catalog import look_at
from polserve.training.versions.export import export_policy
from polserve.training.versions.specs import TrainedPolicy, build_spec
from polserve.training.versions.version import PolicyVersion

SIZE = 4
SMALL, LARGE = "small", "large"
HIDDEN = {SMALL: (64, 64), LARGE: (1200, 1200)}
"""Hidden layers of a network of a CartPole policy's size, and of one of 6 MB."""
PAUSE_S = 1.0
"""The pause from one switch to the next promotion."""
BLOCK = 10
"""Promotions in a stretch with them; a stretch without lasts as long."""
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured."""

    promotions: int
    poll_interval_s: float
    rate: float
    processes: int
    workers: int


@dataclass(slots=True)
class Stretch:
    """From when to when, by the monotonic clock."""

    began_s: float
    ended_s: float


def make_version(name: str, action: int) -> PolicyVersion:
    """Build an untrained version that always answers `action`."""
    torch.manual_seed(action)
    network = ValueNetwork(NetworkConfig(hidden_sizes=HIDDEN[name]), (SIZE,), 2)
    with torch.no_grad():
        network.advantage.bias.copy_(torch.tensor([1.0, -1.0]) * (100.0 if action == 0 else -100.0))
    observations = np.random.default_rng(0).normal(size=(64, SIZE)).astype(np.float32)
    environment = EnvironmentSpec("CartPole-v1")
    trained = TrainedPolicy(
        name, "dqn", environment, look_at(environment), pb.Provenance(), summarise([9.0, 10.0]), random_mean=20.0
    )
    return export_policy(GreedyPolicy(network), build_spec(trained), observations)


def register_versions(store: MlflowClient) -> None:
    """Register versions 1 and 2 of each size, the first of which is champion."""
    for name in HIDDEN:
        for action in (0, 1):
            run = TrackedRun.start(store, "rollout", name, {})
            with run:
                PolicyRegistry(store).register(make_version(name, action), run.run_id)


@contextlib.contextmanager
def running(command: list[str], page: str, log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a Python program, which answers at `page`, until the block is left."""
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", *command],
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        wait_for(lambda: is_good(page), f"{page} does not answer; {log}")
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_good(page: str) -> bool:
    """Return whether a page of ours answers 200."""
    try:
        with urllib.request.urlopen(page, timeout=2) as response:  # noqa: S310 - our own http:// address
            return bool(response.status == 200)  # noqa: PLR2004
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], problem: str) -> None:
    """Return when the condition holds; raises SystemExit where it does not for a minute."""
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(problem)
        time.sleep(0.02)


@contextlib.contextmanager
def serving(folder: Path, setting: Setting) -> Iterator[tuple[MlflowClient, str]]:
    """Run a registry with the versions and a service that follows it; yield the registry's client and the target."""
    mlflow, grpc, http = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{mlflow}"
    environment = {
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    os.environ.update(environment)
    server = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow), "--workers", "1"]
    server += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    server += ["--artifacts-destination", str(folder / "artifacts")]
    serve = ["polserve", "serve", "--grpc-port", str(grpc), "--http-port", str(http), "--service", "benchmark"]
    serve += ["--poll-interval", str(setting.poll_interval_s), "--workers", str(setting.workers)]
    serve += ["--cache-dir", str(folder / "cache")]
    with running(server, f"{url}/health", folder / "mlflow.log", environment):
        store = connect()
        register_versions(store)
        with running(serve, f"http://127.0.0.1:{http}/readyz", folder / "polserve.log", environment):
            yield store, f"127.0.0.1:{grpc}"


def promote(store: MlflowClient, client: PolicyClient, name: str, version: str) -> float:
    """Move the alias; return the seconds until the first answer by the version."""
    observation = np.zeros(SIZE, np.float32)
    moved = time.monotonic()
    store.set_registered_model_alias(name, CHAMPION, version)
    wait_for(lambda: client.act(name, observation).version == version, f"{name}/{version} never answered")
    return time.monotonic() - moved


def promote_under_load(
    store: MlflowClient, target: str, setting: Setting
) -> tuple[Calls, list[float], list[Stretch], list[Stretch]]:
    """Promote under load; return the calls, how long each promotion took, and the stretches with and without."""
    took: list[float] = []
    busy: list[Stretch] = []
    quiet: list[Stretch] = []
    with (
        calling(target, SMALL, SIZE, processes=setting.processes, rate=setting.rate) as calls,
        PolicyClient(target) as client,
    ):
        time.sleep(2.0)
        while len(took) < setting.promotions:
            began = time.monotonic()
            for _ in range(min(BLOCK, setting.promotions - len(took))):
                moved = time.monotonic()
                took.append(promote(store, client, SMALL, str(2 - len(took) % 2)))
                time.sleep(PAUSE_S)
                busy.append(Stretch(moved, time.monotonic()))
            length_s = time.monotonic() - began
            quiet.append(Stretch(time.monotonic(), time.monotonic() + length_s))
            time.sleep(length_s)
    return calls, took, busy, quiet


def latencies_ms(calls: Calls, stretches: list[Stretch]) -> NDArray[np.float64]:
    """Return the latencies of the calls that began in the stretches."""
    began, took = np.asarray(calls.began_s), np.asarray(calls.took_s)
    is_in = np.zeros(len(began), np.bool_)
    for stretch in stretches:
        is_in |= (began >= stretch.began_s) & (began < stretch.ended_s)
    return 1000 * took[is_in]


def main() -> None:
    """Promote back and forth under load, then a larger network without."""
    parser = options(__doc__ or "")
    parser.add_argument("--promotions", type=int, default=100)
    parser.add_argument("--poll-interval", type=float, default=1.0, help="of the service, in seconds")
    parser.add_argument("--rate", type=float, default=400.0, help="calls a second")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    arguments = parser.parse_args()
    promotions = min(arguments.promotions, 8) if arguments.quick else arguments.promotions
    setting = Setting(promotions, arguments.poll_interval, arguments.rate, 1, arguments.workers)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), setting) as (store, target):
        calls, small_s, busy, quiet = promote_under_load(store, target, setting)
        with PolicyClient(target) as client:
            large_s = []
            for index in range(max(4, promotions // 10)):
                large_s.append(promote(store, client, LARGE, str(2 - index % 2)))
                time.sleep(PAUSE_S)
    wrong = sum(
        version not in {"", str(action + 1)} for version, action in zip(calls.version, calls.action, strict=True)
    )
    during, without = latencies_ms(calls, busy), latencies_ms(calls, quiet)
    figures = {
        "promotions": len(small_s),
        "calls": len(calls.version),
        "failed_calls": calls.version.count(""),
        "wrong_version_labels": wrong,
        "p99_during_ms": float(np.quantile(during, 0.99)),
        "p99_without_ms": float(np.quantile(without, 0.99)),
        "p99_ratio": float(np.quantile(during, 0.99) / np.quantile(without, 0.99)),
        "poll_interval_s": setting.poll_interval_s,
        "small_slowest_s": max(small_s),
        "large_slowest_s": max(large_s),
    }
    rows = [
        ("failed calls", f"{figures['failed_calls']} of {figures['calls']:,}", "0"),
        ("answers that name another version than computed them", str(wrong), "0"),
        ("p99 during promotions, to p99 without", f"{figures['p99_ratio']:.2f}", "<= 2"),
        ("p50 likewise", f"{np.median(during) / np.median(without):.2f}", ""),
        ("p99 during and without", f"{figures['p99_during_ms']:.2f} and {figures['p99_without_ms']:.2f} ms", ""),
        *(
            (
                f"alias moved to first answer, {name} network: median, slowest",
                f"{np.median(took):.2f} s, {max(took):.2f} s",
                f"< {setting.poll_interval_s + grace:g} s",
            )
            for name, took, grace in ((SMALL, small_s, 1.0), (LARGE, large_s, 2.0))
        ),
    ]
    title = f"{len(small_s)} promotions under {setting.rate:g} calls/s, looked for every {setting.poll_interval_s:g} s"
    show(title, ("what", "figure", "asked"), rows)
    finish(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
