"""A run knows the commit of the environment's code, where that is the user's own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from polserve.training.environments.making import EnvironmentSpec, make_env
from polserve.training.versions.provenance import environment_commit
from tests.support.strangers import Line

MODULE = "committed_envs"
CODE = """
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv

class Own(CartPoleEnv):
    pass

gym.register("Committed-v0", Own)
"""
SPEC = EnvironmentSpec("Committed-v0", module=MODULE)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    result = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)  # noqa: S607
    return result.stdout.strip()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """File of a user's module, imported, in a work tree whose only commit holds something else."""
    project = tmp_path / "project"
    (project / "envs").mkdir(parents=True)
    file = project / "envs" / f"{MODULE}.py"
    file.write_text(CODE)
    (project / "README").touch()
    git(project, "init", "-q")
    git(project, "add", "README")
    git(project, "commit", "-qm", "Begin")
    monkeypatch.syspath_prepend(file.parent)
    make_env(SPEC).close()
    yield file
    del sys.modules[MODULE]
    del gym.registry["Committed-v0"]


def test_the_commit_of_the_environments_code_is_known_and_whether_it_was_changed(module: Path) -> None:
    head = git(module.parent, "rev-parse", "HEAD")
    assert environment_commit(SPEC) == f"{head}-dirty", "the commit does not hold the module"
    git(module.parent, "add", module.name)
    git(module.parent, "commit", "-qm", "Add")
    head = git(module.parent, "rev-parse", "HEAD")
    assert environment_commit(SPEC) == head
    own = sys.modules[MODULE].Own
    assert environment_commit(EnvironmentSpec("Own", maker=own)) == head
    (module.parents[1] / "README").write_text("changed")
    assert environment_commit(SPEC) == f"{head}-dirty"


def test_code_that_the_work_tree_ignores_is_no_part_of_it(module: Path) -> None:
    (module.parents[1] / ".gitignore").write_text("envs\n")
    assert environment_commit(SPEC) == ""


@pytest.mark.parametrize("spec", [EnvironmentSpec("CartPole-v1"), EnvironmentSpec("Line", maker=Line)])
def test_the_code_of_others_and_of_polserve_has_no_commit_of_the_users(spec: EnvironmentSpec) -> None:
    assert environment_commit(spec) == ""
