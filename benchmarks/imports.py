"""Policies of other tools, imported and served: how far their answers differ from the original's, and what they return.

Every policy is trained for a moment by its own tool, imported, and served by `polserve serve`. The service and the
original answer 10,000 observations that the original met in its environment, and play the same episodes.
"""

import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from benchmarks.load import ENVIRONMENT, PYTHON
from benchmarks.tables import finish, options, show
from polserve import PolicyClient
from polserve.testing import service
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.evaluation.episodes import play_episodes
from polserve.training.imports.importing import Read, import_policy
from polserve.training.imports.observations import met
from polserve.training.imports.places import find_place
from polserve.training.imports.request import ImportRequest

OBSERVATIONS = 10_000
BATCH = 250
EPISODES = 10
TIMED = "CartPole-v1"
"""Environment of the policy whose import is timed."""
QUICK = ("dqn-mlp", "sac-mlp")
"""Policies of a short run, by the beginnings of their names."""
Act = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A policy of another tool, in a file and in this process."""

    tool: str
    algorithm: str
    network: str
    name: str
    """Name of the policy in the service."""
    environment: EnvironmentSpec
    read: Read
    act: Act
    """The original's own greedy actions for observations (n, *shape)."""
    path: Path


@dataclass(frozen=True, slots=True)
class Compared:
    """What the service answered beside the original."""

    difference: float
    """Part of the discrete actions that differ, or largest difference of continuous ones, relative to their range."""
    original_return: float
    service_return: float


def prepare(policy: Any, folder: Path, *, is_quick: bool) -> Prepared:
    """Train the policy, and import it into the folder's policies."""
    print(f"training and importing {policy.name}", file=sys.stderr)
    prepared: Prepared = policy.prepare(folder, is_quick=is_quick)
    environment = prepared.environment
    request = ImportRequest(
        environment.id,
        environment.module,
        environment.kwargs,
        name=prepared.name,
        episodes=2,
        folder=folder / "policies",
    )
    import_policy(prepared.read, request)
    return prepared


def compare(client: PolicyClient, prepared: Prepared, observations: int, episodes: int) -> Compared:
    """Ask the service and the original for the same actions, and let both play the same episodes."""

    def act(seen: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(client.act(prepared.name, seen).action)

    largest = 0.0
    seen = met(prepared.environment, prepared.act, observations)
    facts = find_place(prepared.environment).facts
    for start in range(0, len(seen), BATCH):
        batch = seen[start : start + BATCH]
        got, expected = act(batch), prepared.act(batch)
        if facts and isinstance(facts.action_space, Box):
            extent = facts.action_space.high - facts.action_space.low
            largest = max(largest, float((np.abs(got - expected) / extent).max()))
        else:
            largest += float((got != expected).sum()) / observations
    returns = [
        np.mean(
            [
                episode.episode_return
                for episode in play_episodes(player, prepared.environment, episodes, EVALUATION_FIRST_SEED, 1_000)
            ]
        )
        for player in (prepared.act, act)
    ]
    return Compared(largest, float(returns[0]), float(returns[1]))


def time_command(path: Path, folder: Path) -> tuple[float, float]:
    """Measure the command to the registered version, in a process and a store of its own: seconds of wall, of CPU."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*PYTHON, "polserve", "import", "sb3", str(path), "--env", TIMED, "--episodes", "2"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=ENVIRONMENT)  # noqa: S603 - our program
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - started, sum(after[:2]) - sum(before[:2])


def main() -> None:
    """Print the table."""
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only policies whose name contains this, such as dqn")
    arguments = parser.parse_args()
    from benchmarks.imported_sb3 import policies

    names = QUICK if arguments.quick else ("",)
    torch.set_num_threads(1)  # networks this small are slower on more
    chosen = [policy for policy in policies() if policy.name.startswith(names) and arguments.only in policy.name]
    missing = {policy.package for policy in chosen if importlib.util.find_spec(policy.package) is None}
    if missing:
        sys.exit(f"error: install {', '.join(sorted(missing))}, or choose others with --only")
    observations, episodes = (500, 2) if arguments.quick else (OBSERVATIONS, EPISODES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = [prepare(policy, folder, is_quick=arguments.quick) for policy in chosen]
        with service(folder / "policies") as target, PolicyClient(target) as client:
            found = [compare(client, each, observations, episodes) for each in prepared]
        command: dict[str, float] = {}
        if prepared[0].environment.id == TIMED:
            command = dict(
                zip(("import_command_s", "import_command_cpu_s"), time_command(prepared[0].path, folder), strict=True)
            )
    report(prepared, found, observations, episodes)
    figures = {f"{each.name}.difference": one.difference for each, one in zip(prepared, found, strict=True)}
    finish({**figures, **command}, as_json=arguments.json)


def report(prepared: list[Prepared], found: list[Compared], observations: int, episodes: int) -> None:
    """Show what was found."""
    rows = [
        (
            each.tool,
            each.algorithm,
            f"{each.network}, {each.environment.id}",
            f"{one.difference:.1e}" if one.difference else "0",
            f"{one.original_return:.2f}",
            f"{one.service_return:.2f}",
        )
        for each, one in zip(prepared, found, strict=True)
    ]
    columns = ("tool", "algorithm", "network", "largest difference", "return by the original", "by the service")
    title = (
        f"{observations:,} observations and {episodes} episodes of each: discrete actions that differ, or continuous"
    )
    show(f"{title} ones relative to their range", columns, rows)


if __name__ == "__main__":
    main()
