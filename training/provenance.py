"""Where a policy came from."""

import subprocess
from importlib.metadata import version
from pathlib import Path

from protos.polserve.v1 import policy_pb2 as pb


def provenance(run_id: str, seed: int, environment_steps: int) -> pb.Provenance:
    """The message for the spec."""
    return pb.Provenance(
        run_id=run_id,
        git_commit=git_commit(),
        seed=seed,
        environment_steps=environment_steps,
        package_version=version("polserve"),
    )


def git_commit() -> str:
    """The commit of this code, with "-dirty" where it was changed; empty outside a checkout."""
    folder = Path(__file__).parent
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
