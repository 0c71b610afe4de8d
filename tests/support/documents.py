"""Code blocks of the documentation, and shell scripts that are run as a reader would run them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.running import ROOT, environment, free_port


def blocks(document: str, language: str) -> list[str]:
    """Return the code blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


def run_script(script: str, folder: Path, **changes: str) -> str:
    """Run a shell script as a person would, everything that it leaves running included; its output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(PATH=path, HOME=str(folder), SDL_VIDEODRIVER="dummy", **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=380)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output[-4000:]
    return output


def background(script: str) -> str:
    """Servers started with `&` write to a file; nobody waits for them but the commands that follow."""
    lines = script.splitlines()
    return "\n".join(f"{line[:-1]} >{line.split()[0]}.log 2>&1 &" if line.endswith("&") else line for line in lines)


def ports() -> dict[str, str]:
    """Return free ports in place of the usual ones, given the way a user would give them."""
    grpc, http = free_port(), free_port()
    return {
        "POLSERVE_GRPC_PORT": str(grpc),
        "POLSERVE_HTTP_PORT": str(http),
        "POLSERVE_TARGET": f"127.0.0.1:{grpc}",
        "PORT": str(free_port()),
    }
