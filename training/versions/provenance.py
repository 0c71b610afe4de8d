"""Where a policy came from."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.machine.cores import cores

INSTALLED = frozenset(("site-packages", "dist-packages"))
"""Folders of packages that were installed, which may lie in a work tree that they are no part of."""
IGNORED = "!!"
"""What git's status begins with for a file that it is told to ignore."""


def describe_run(seed: int, settings: Mapping[str, object], device: torch.device) -> pb.Provenance:
    """Provenance that is known before a run begins; its id and its length are for the caller to add."""
    return pb.Provenance(
        git_commit=git_commit(),
        seed=seed,
        package_version=version("polserve"),
        settings_json=json.dumps(dict(settings), sort_keys=True),
        machine=machine(device),
    )


def machine(device: torch.device) -> str:
    """Kind of machine that this is: cores, processor, and the GPU where that is the device."""
    cpu = f"{cores()} CPU cores"
    processor = re.search(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    described = f"{cpu} ({processor.group(1)})" if processor else cpu
    return f"{described}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else described


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def git_commit() -> str:
    """Commit of this code, with "-dirty" where it was changed; empty outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)  # fails where the checkout is another's
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}-dirty" if changes else commit


def environment_commit(environment: EnvironmentSpec) -> str:
    """Commit of the work tree that an environment's code is in, with "-dirty" where it has changes; empty for none.

    Empty, too, for what comes with polserve, whose commit is `git_commit`, and for what is installed.
    """
    path = _source(environment)
    if path is None or not INSTALLED.isdisjoint(path.parts):
        return ""
    try:
        tree = _git(path.parent, "rev-parse", "--show-toplevel")
        if git_commit() and tree == _git(Path(__file__).resolve().parent, "rev-parse", "--show-toplevel"):
            return ""
        commit = _git(path.parent, "rev-parse", "HEAD")
        state = _git(path.parent, "status", "--porcelain", "--ignored", "--", path.name)
        changes = state or _git(path.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    if state.startswith(IGNORED):
        return ""
    return f"{commit}-dirty" if changes else commit


def _source(environment: EnvironmentSpec) -> Path | None:
    """File of the module that registers an environment, or else of what makes it; None where it has none."""
    made_by: Any = environment.maker if environment.maker is not None else environment.registered.entry_point
    made_by = made_by.func if isinstance(made_by, partial) else made_by
    module = made_by.partition(":")[0] if isinstance(made_by, str) else getattr(made_by, "__module__", "")
    file = getattr(sys.modules.get(environment.module or module), "__file__", None)
    return Path(file).resolve() if file else None


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(  # noqa: S603 - fixed words
        ["git", "--no-optional-locks", *arguments],  # noqa: S607 - the user's git
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip()
