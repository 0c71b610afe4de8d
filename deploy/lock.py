"""Write the requirements that the image is built from: each package with its version and the hashes of its wheels.

`make lock` runs it after constraints.txt or the dependencies in pyproject.toml have changed. pip resolves them once for
each kind of machine that the image is for, and names the files that it would install; it downloads none of them.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "deploy" / "requirements.txt"
"""What the service needs."""
BUILD_REQUIREMENTS = ROOT / "deploy" / "build-requirements.txt"
"""What it takes to build polserve itself; none of it is in the image."""
EXTRAS = ("otel",)
"""Extras of polserve that the image has."""
PYTHON = "3.11"
"""Python of the image."""
MACHINES = ("x86_64", "aarch64")
"""Machines that the image is built for."""
GLIBC = range(17, 37)
"""Minor versions of glibc 2 whose wheels the image can run; Debian 12 has 2.36."""
HEADER = """\
# Made by `make lock`; do not edit. Of each package the version, and the hashes of its wheels for {machines}.
"""

Pins: TypeAlias = Mapping[tuple[str, str], set[str]]
"""The sha256 of each wheel that may be installed, by package and version."""


def main() -> None:
    """Write both files anew."""
    write(REQUIREMENTS, resolve(dependencies()))
    write(BUILD_REQUIREMENTS, resolve(_project()["build-system"]["requires"]))


def dependencies() -> list[str]:
    """Return what polserve needs in the image, as pyproject.toml has it."""
    project = _project()["project"]
    extras = [one for extra in EXTRAS for one in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *extras]


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def resolve(requirements: Sequence[str]) -> Pins:
    """Have pip choose versions, as constraints.txt allows, and name their wheels; the same for each machine."""
    pins: dict[tuple[str, str], set[str]] = defaultdict(set)
    for machine in MACHINES:
        for package in _report(requirements, machine):
            name = re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()
            sha256 = package["download_info"]["archive_info"]["hashes"]["sha256"]
            pins[name, package["metadata"]["version"]].add(sha256)
    names = [name for name, _ in pins]
    if len(names) != len(set(names)):
        raise SystemExit("lock: expected one version of each package, got different ones for different machines")
    return pins


def write(path: Path, pins: Pins) -> None:
    """Write pinned packages as pip reads them."""
    path.write_text(HEADER.format(machines=" and ".join(MACHINES)) + "".join(_entries(pins)))
    print(f"{path.relative_to(ROOT)}: {len(pins)} packages")


def _entries(pins: Pins) -> Iterable[str]:
    for (name, version), hashes in sorted(pins.items()):
        lines = [f"{name}=={version}", *(f"    --hash=sha256:{one}" for one in sorted(hashes))]
        yield " \\\n".join(lines) + "\n"


def _report(requirements: Sequence[str], machine: str) -> list[Any]:
    """Return what pip would install on a machine."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)] + [f"manylinux2014_{machine}"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"),
            *("--report", str(report), "--target", str(Path(folder) / "nothing"), "--ignore-installed"),
            *("--only-binary", ":all:", "--python-version", PYTHON, "--constraint", str(ROOT / "constraints.txt")),
            *(option for platform in platforms for option in ("--platform", platform)),
            *requirements,
        ]
        subprocess.run(command, check=True)  # noqa: S603 - pip, of this environment
        found: list[Any] = json.loads(report.read_text())["install"]
        return found


if __name__ == "__main__":
    main()
