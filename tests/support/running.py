"""What several tests need: small policy versions, and real servers in processes of their own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf import json_format
from gymnasium.spaces import Box

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import SCHEMA_VERSION, SPEC_KEY
from polserve.serving.addresses import spelled
from polserve.serving.catalog import Catalog
from polserve.serving.errors import PolserveError
from polserve.serving.loader import Shelf
from polserve.serving.sources.source import Desired, Trial, VersionRef
from polserve.serving.validation.gate import Gate, prove
from polserve.serving.workers.epoch import LocalEpoch
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.evaluation.statistics import ReturnSummary
from polserve.training.learning.agents.actor_critic import ActorDesign
from polserve.training.learning.agents.ddpg import DdpgAgent
from polserve.training.learning.compute import choose
from polserve.training.learning.hyperparameters import DdpgConfig, NetworkConfig
from polserve.training.learning.networks import GreedyPolicy, ValueNetwork
from polserve.training.tasks.adbudget.allocator import AllocationFeatures, SpendPlan
from polserve.training.tasks.adbudget.campaigns import Campaigns
from polserve.training.tasks.adbudget.context import default_scenario
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID
from polserve.training.tasks.atari.screens import FRAME_SHAPE, SCREEN_SHAPE, Screens
from polserve.training.versions.export import export_policy
from polserve.training.versions.specs import TrainedPolicy, build_spec
from polserve.training.versions.version import PolicyVersion

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

TIMEOUT_S = 60.0


@lru_cache
def make_version(
    seed: int = 0, *, name: str = "cartpole", mean: float = 100.0, hidden: tuple[int, ...] = (8,)
) -> PolicyVersion:
    """A version of an untrained CartPole network; another seed acts otherwise."""
    torch.manual_seed(seed)
    network = ValueNetwork(NetworkConfig(hidden_sizes=hidden), (4,), 2)
    observations = np.random.default_rng(seed).normal(size=(80, 4)).astype(np.float32)
    with torch.no_grad():  # so that either action is the best one for half of the observations
        values = network(torch.from_numpy(observations))
        network.advantage.bias.sub_(values.median(dim=0).values)
    policy = GreedyPolicy(network)
    summary = ReturnSummary(100, mean, mean, mean, 5.0, mean - 1, mean + 1, 0.95)
    trained = TrainedPolicy(
        name=name,
        algorithm="dqn",
        environment=EnvironmentSpec("CartPole-v1"),
        provenance=pb.Provenance(run_id=f"run-{seed}", seed=seed),
        evaluation=summary,
        random_mean=20.0,
    )
    return export_policy(policy, build_spec(trained), observations)


@lru_cache
def make_frames_version(seed: int = 0) -> PolicyVersion:
    """A version of an untrained network that takes four stacked frames of 36 x 36 bytes and has five actions."""
    torch.manual_seed(seed)
    shape = (4, 36, 36)
    observations = np.random.default_rng(seed).integers(0, 256, (70, *shape), np.uint8)
    spec = pb.PolicySpec(
        schema_version=SCHEMA_VERSION,
        name="frames",
        algorithm="dqn",
        observation=pb.ObservationSpec(dtype=pb.UINT8, shape=shape, frames=4),
        action=pb.ActionSpec(discrete=pb.DiscreteActions(n=5)),
    )
    return export_policy(GreedyPolicy(ValueNetwork(NetworkConfig(hidden_sizes=(512,)), shape, 5)), spec, observations)


@lru_cache
def make_arcade_version() -> tuple[PolicyVersion, ValueNetwork]:
    """A version of an untrained, small network that plays Ms. Pac-Man from colour frames, and its network."""
    torch.manual_seed(0)
    network = ValueNetwork(NetworkConfig(hidden_sizes=(8,)), (4, *SCREEN_SHAPE), 9)
    shape = (4, *FRAME_SHAPE)
    observations = np.random.default_rng(0).integers(0, 256, (64, *shape), np.uint8)
    spec = pb.PolicySpec(
        schema_version=SCHEMA_VERSION,
        name="arcade",
        algorithm="dqn",
        environment=pb.Environment(id="ALE/MsPacman-v5"),
        observation=pb.ObservationSpec(dtype=pb.UINT8, shape=shape, frames=4),
        action=pb.ActionSpec(discrete=pb.DiscreteActions(n=9)),
    )
    return export_policy(GreedyPolicy(network, Screens()), spec, observations), network


@lru_cache
def make_allocator_version(n_channels: int = 2, name: str = "adbudget") -> PolicyVersion:
    """A version of an untrained allocator: its spends are those of the reference plan, nearly."""
    torch.manual_seed(0)
    environment = EnvironmentSpec(ALLOCATION_ID, {"n_channels": n_channels})
    scenario = default_scenario(n_channels)
    space = Box(-1.0, 1.0, (n_channels,), np.float32)
    design = ActorDesign(NetworkConfig(hidden_sizes=(8,)), space, AllocationFeatures(scenario), SpendPlan(scenario))
    policy = DdpgAgent(DdpgConfig(), design, choose("cpu")).policy()
    campaigns = Campaigns.of(scenario.draw_many(np.random.default_rng(0), 80))
    summary = ReturnSummary(100, 1.0, 1.0, 1.0, 1.0, 0.5, 1.5, 0.95)
    trained = TrainedPolicy(name, "td3", environment, pb.Provenance(run_id="run-0"), summary, 0.5)
    return export_policy(policy, build_spec(trained), campaigns.observe())


class ShelfCrew:
    """A rollout's crew that is one shelf, without a server, and its prover, without a process."""

    def __init__(self, *aliases: str) -> None:
        self.epoch = LocalEpoch()
        self.catalog = Catalog(aliases, self.epoch)
        self.shelf = Shelf(self.catalog)

    def prove(self, ref: VersionRef, live: VersionRef | None) -> Trial:
        try:
            return Trial("", prove(ref, live, Gate()).spec.provenance.run_id)
        except PolserveError as refusal:
            return Trial(str(refusal))

    def prepare(self, ref: VersionRef) -> str:
        return self.shelf.prepare(ref)

    def switch(self, live: Desired) -> None:
        assert not self.shelf.stage(self.epoch.read() + 1, live)
        self.epoch.write(self.epoch.read() + 1)


def with_spec(version: PolicyVersion, spec: pb.PolicySpec) -> PolicyVersion:
    """The version with another spec in its metadata."""
    model = onnx.ModelProto()
    model.CopyFrom(version.model)
    onnx.helper.set_model_props(model, {SPEC_KEY: json_format.MessageToJson(spec)})
    return PolicyVersion(model, spec, version.golden)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would steer polserve or MLflow, and with `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POLSERVE_", "MLFLOW_"))}
    quiet = {
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nothing here uses
        "PYTHONUNBUFFERED": "1",
    }
    return {**kept, **quiet, **changes}


@contextlib.contextmanager
def program(
    *arguments: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator["subprocess.Popen[str]"]:
    """A Python program that gets `end`, with its children, when the block is left; its output goes to `log`."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(env or environment()),
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def polserve(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    """A command of the `polserve` program, run to its end, with `changes` to its environment."""
    return subprocess.run(
        [sys.executable, "-m", "polserve", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(**{"COLUMNS": "200", **changes}),
    )


@dataclass(frozen=True)
class Running:
    """A service in a process of its own."""

    process: "subprocess.Popen[str]"
    target: str
    http_url: str
    log: Path

    def ready_page(self) -> tuple[int, str]:
        """Status and text of /readyz."""
        return page(f"{self.http_url}/readyz")

    def ready(self) -> dict[str, Any]:
        """What /readyz says, whatever its status."""
        return dict(json.loads(self.ready_page()[1]))

    def is_up(self) -> bool:
        """Whether it is ready, with every process that it should have."""
        status, text = self.ready_page()
        if status == 0:  # a machine that is busy enough keeps even this page waiting
            return False
        state = json.loads(text)
        workers = state.get("workers", {"up": 1, "of": 1})
        return bool(state["ready"] and workers["up"] == workers["of"])

    def metrics(self) -> str:
        """The page /metrics."""
        return page(f"{self.http_url}/metrics")[1]


@contextlib.contextmanager
def service(
    *options: str,
    folder: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Running]:
    """`polserve serve` on free ports, its log in `folder`; it answers HTTP at `host` when this returns."""
    grpc_port, http_port = free_port(), free_port()
    log = folder / f"polserve-{grpc_port}.log"
    ports = ("--grpc-port", str(grpc_port), "--http-port", str(http_port))
    arguments = ["-m", "polserve", "serve", *ports, *options]
    with program(*arguments, log=log, env=env, cwd=cwd) as process:
        running = Running(process, spelled(host, grpc_port), f"http://{spelled(host, http_port)}", log)
        wait_until(lambda: page(f"{running.http_url}/livez")[0] == 200 or process.poll() is not None, log)
        yield running


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int | None = None, database: str | None = None) -> Iterator[str]:
    """A real MLflow server on SQLite or another database with its artifacts in `folder`; the value is its address."""
    url = f"http://127.0.0.1:{port or free_port()}"
    command = [
        *("-m", "mlflow", "server", "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1], "--workers", "1"),
        *("--backend-store-uri", database or f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    log = folder / "mlflow-server.log"
    # Killed, since it would take ten seconds to end by itself; what it answered is in its database.
    with program(*command, log=log, end=signal.SIGKILL):
        wait_until(lambda: page(f"{url}/health")[0] == 200, log)
        yield url


def page(url: str) -> tuple[int, str]:
    """Status and text of a page; status 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own http:// address
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_until(condition: Callable[[], bool], log: Path | None = None) -> None:
    """Return when `condition()` holds; fail with the log's end when it does not for a minute."""
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > until:
            tail = log.read_text()[-3000:] if log else ""
            raise AssertionError(f"still not so after {TIMEOUT_S:.0f} s; {tail}")
        time.sleep(0.05)
