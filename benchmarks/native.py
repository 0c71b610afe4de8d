"""An empty echo in C++ gRPC, built where a compiler and the library are installed."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load import ROOT, Server, process_of

SOURCE = Path(__file__).with_name("echo.cc")
NEEDED = "a C++ echo to compare with needs g++, pkg-config and Debian's libgrpc++-dev; it is left out"


class CannotBuild(Exception):
    """The echo cannot be built on this machine."""


def build(folder: Path) -> Path:
    """Build the echo; return the program.

    Raises:
        CannotBuild: a compiler or the library is missing.
    """
    if shutil.which("g++") is None or shutil.which("pkg-config") is None:
        raise CannotBuild(NEEDED)
    found = subprocess.run(["pkg-config", "--cflags", "--libs", "grpc++"], check=False, capture_output=True, text=True)  # noqa: S607
    if found.returncode:
        raise CannotBuild(f"{NEEDED} ({found.stderr.strip().splitlines()[0]})")
    program = folder / "echo"
    command = ["g++", "-std=c++17", "-O2", "-o", str(program), str(SOURCE), *found.stdout.split()]
    built = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own source
    if built.returncode:
        raise CannotBuild(f"{NEEDED} ({built.stderr.strip().splitlines()[-1]})")
    return program


@contextlib.contextmanager
def native_echo() -> Iterator[Server]:
    """Start the echo, which ends with the block; raises CannotBuild."""
    with tempfile.TemporaryDirectory() as folder, process_of([str(build(Path(folder)))], ROOT) as process:
        line = process.stdout.readline() if process.stdout else ""
        yield Server(int(line), [process.pid])
