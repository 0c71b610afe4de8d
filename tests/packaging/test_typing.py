"""An application that imports polserve is checked by mypy as if polserve were its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installing import Installed, build, copy_source, install, leave_out

APPLICATION = """
import asyncio

import numpy as np

import polserve
from polserve import Action, AsyncPolicyClient, BudgetDay, ClientError, PolicyClient, Split


def play(client: PolicyClient, frames: list[np.ndarray]) -> float | None:
    with client.episode("mspacman", version=1) as episode:
        actions: list[int] = [int(episode.act(frame).action) for frame in frames]
        print(actions)
        return episode.end(reward=np.float32(1.0), truncated=True)


def allocate(client: PolicyClient) -> Split:
    spent = {"search": [1_000_000], "video": [2_000_000]}
    today = BudgetDay(
        day=1, horizon_days=30, total_micros=9, remaining_micros=8, weekday=2, spent_micros=spent
    )
    return client.allocate("adbudget", today)


async def ask(target: str) -> Action:
    async with AsyncPolicyClient(target, timeout_s=5) as client:
        live = (await client.policy("cartpole")).live_version("@champion")
        print(live.evaluation.mean if live and live.evaluation else None)
        return await client.act("cartpole", [0, 0, 0.1, 0], with_values=True)


with polserve.testing.service() as target, PolicyClient(target) as client:
    answer = asyncio.run(ask(target))
    values: list[float] = [] if answer.values is None else answer.values.tolist()
    print(answer.version, values, allocate(client).spend_micros["search"], client.policies()[0].versions)
try:
    polserve.testing.client({"cartpole": lambda observation: 0}).act_batch("go", np.zeros((2, 4)), version=7)
except ClientError as error:
    print(error.code, polserve.load("cartpole").act([0, 0, 0, 0]).action.shape)
"""

WRONG = """
from polserve import PolicyClient, PolicyCleint

with PolicyClient(50051) as client:
    client.act("cartpole", None)
    client.act("cartpole", [0], version=1.5)
    client.episode("cartpole").end(reward="1")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the built wheel, and of the libraries of training none that mypy reads for minutes.

    An application that serves and asks has none of them either.
    """
    folder = tmp_path_factory.mktemp("typed")
    wheel = build(copy_source(folder / "source", has_links=True), "wheel", folder)
    installed = install(wheel, folder / "environment")
    leave_out(installed, "torch", "mlflow", "sqlalchemy", "pandas", "scipy", "matplotlib", "onnx", "sympy")
    return installed


def check(installed: Installed, folder: Path, program: str) -> list[str]:
    """Return what `mypy --strict` says of a program, by lines."""
    (folder / "application.py").write_text(program)
    python = str(installed.folder / "bin" / "python")
    cache = str(installed.folder / "mypy")  # what it learns of our modules holds for the next program
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            cache,
            "--python-executable",
            python,
            "application.py",
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=installed.environment,
    )
    return result.stdout.strip().splitlines()


def test_an_application_needs_no_ignore(installed: Installed, tmp_path: Path) -> None:
    assert check(installed, tmp_path, APPLICATION) == ["Success: no issues found in 1 source file"]


def test_a_wrong_argument_or_name_is_seen(installed: Installed, tmp_path: Path) -> None:
    said = check(installed, tmp_path, WRONG)
    assert [line.split(":")[1] for line in said if "error:" in line] == ["2", "4", "5", "6", "7"]
    assert 'Module "polserve" has no attribute "PolicyCleint"' in said[0]
