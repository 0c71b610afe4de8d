"""A service that follows a registry, and policy versions for it to follow."""

from contextlib import AbstractContextManager
from pathlib import Path

from mlflow import MlflowClient

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import PolicyClient
from polserve.training.registry.aliases import AliasMove, ChampionAlias, mover
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.versions.version import PolicyVersion
from tests.support.running import Running, environment, service
from tests.support.versions import make_version, with_spec

OBSERVATION = make_version().golden["observation"]
SERVE = ("--poll-interval", "0.3", "--service", "tests")


def register(store: MlflowClient, name: str, seed: int) -> str:
    run = TrackedRun.start(store, "tests", name, {})
    with run:
        return PolicyRegistry(store).register(version(name, seed), run.run_id)


def version(name: str, seed: int) -> PolicyVersion:
    return make_version(seed, name=name, mean=100.0 - 50 * seed)


def serve(url: str, policy: str, folder: Path, *options: str, **variables: str) -> AbstractContextManager[Running]:
    cache = () if "--cache-dir" in options else ("--cache-dir", str(folder / "cache"))
    env = environment(MLFLOW_TRACKING_URI=url, **variables)
    return service("--policy", policy, *SERVE, *cache, *options, folder=folder, env=env)


def answering(running: Running, policy: str, version: str = "") -> str:
    with PolicyClient(running.target) as client:
        return client.act(policy, OBSERVATION[0], version=version).version


def live(running: Running, policy: str) -> object:
    return running.ready()["policies"].get(policy)


def promoted(store: MlflowClient, policy: str, version: str, reason: str) -> None:
    """Make the version champion without a game: as by force."""
    registry = PolicyRegistry(store)
    ChampionAlias(store).move(AliasMove(policy, version, registry.champion(policy), mover("promoted")))
    registry.note_decision(policy, version, "promoted", reason)


def register_changed(store: MlflowClient, policy: str, version: PolicyVersion, **environment: str) -> str:
    """Register a version as one of the policy's, with what its spec tells of the environment changed."""
    spec = pb.PolicySpec()
    spec.CopyFrom(version.spec)
    spec.name = policy
    for field, value in environment.items():
        setattr(spec.environment, field, value)
    with TrackedRun.start(store, "tests", policy, {}) as run:
        return PolicyRegistry(store).register(with_spec(version, spec), run.run_id)
