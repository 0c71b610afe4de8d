"""Where a policy came from."""

import json
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.machine.cores import cores


def describe_run(run_id: str, seed: int, settings: Mapping[str, object], device: torch.device) -> pb.Provenance:
    """Provenance that is known as a run begins; its length is for the caller to add."""
    return pb.Provenance(
        run_id=run_id,
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


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(  # noqa: S603 - fixed words
        ["git", *arguments],  # noqa: S607 - the user's git
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip()
