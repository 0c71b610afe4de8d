"""Write the bill of materials of a built image, Debian's packages included; `make sbom IMAGE=polserve` runs it.

It takes that of the Python packages, which `make sbom` has written before, and adds what the base image brings, as the
files in the image say. Nothing of the image is run.
"""

import argparse
import email.parser
import io
import json
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).resolve().parents[1]
PYTHON_BILL = ROOT / "dist" / "polserve.cdx.json"
IMAGE_BILL = ROOT / "dist" / "polserve-image.cdx.json"
STATUS = "/var/lib/dpkg/status"
"""Debian's record of what is installed: a paragraph for each package."""
RELEASE = "/usr/lib/os-release"
INSTALLED = "install ok installed"


def main() -> None:
    """Write the bill; exit with 1 and a sentence where the image cannot be read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("image", help="such as polserve")
    parser.add_argument("--engine", default="docker", help="docker or podman")
    given = parser.parse_args()
    bill = whole_bill(json.loads(PYTHON_BILL.read_text()), read_image(given.engine, given.image))
    IMAGE_BILL.write_text(json.dumps(bill, indent=2) + "\n")
    n = sum(one.get("purl", "").startswith("pkg:deb/") for one in bill["components"])
    print(f"{IMAGE_BILL.relative_to(ROOT)}: {len(bill['components'])} components, {n} packages of Debian among them")


def read_image(engine: str, image: str) -> list[dict[str, Any]]:
    """Read from an image what its base brings, as components of CycloneDX."""
    (details,) = json.loads(_ask(engine, "image", "inspect", image))
    container = _ask(engine, "create", image).decode().strip()
    try:
        status, release = (_copied(engine, container, path) for path in (STATUS, RELEASE))
    finally:
        _ask(engine, "rm", "--volumes", container)
    return [*system_components(status, release), *python_component(details["Config"].get("Env") or [])]


def whole_bill(bill: Mapping[str, Any], components: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a bill of materials with more components."""
    return {**bill, "components": [*bill["components"], *components]}


def system_components(status: str, release: str) -> list[dict[str, Any]]:
    """Make components of the system and of each package that is installed, from dpkg's status and os-release."""
    system = dict(line.split("=", 1) for line in shlex.split(release, comments=True) if "=" in line)
    name, version = system["ID"], system.get("VERSION_ID", "")
    paragraphs = map(email.parser.HeaderParser().parsestr, status.strip().split("\n\n"))
    packages = [_package(one, name, version) for one in paragraphs if one["Status"] == INSTALLED]
    described = {"type": "operating-system", "bom-ref": f"system:{name}", "name": name, "version": version}
    return [described, *sorted(packages, key=lambda one: one["bom-ref"])]


def python_component(environment: Sequence[str]) -> list[dict[str, Any]]:
    """Make a component of a Python that is no package of the system, as in Docker's official image of it."""
    versions = [line.partition("=")[2] for line in environment if line.startswith("PYTHON_VERSION=")]
    return [_component("application", "python", one, f"pkg:generic/python@{one}") for one in versions]


def _package(paragraph: "Message[str, str]", system: str, version: str) -> dict[str, Any]:
    name, number = paragraph["Package"], paragraph["Version"]
    told = urlencode({"arch": paragraph["Architecture"], "distro": f"{system}-{version}"})
    return _component("library", name, number, f"pkg:deb/{system}/{quote(name)}@{quote(number, safe=':')}?{told}")


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _copied(engine: str, container: str, path: str) -> str:
    """Read a file of a container that need not run."""
    with tarfile.open(fileobj=io.BytesIO(_ask(engine, "cp", f"{container}:{path}", "-"))) as archive:
        files = [archive.extractfile(member) for member in archive if member.isfile()]
        return "".join(file.read().decode() for file in files if file is not None)


def _ask(engine: str, *arguments: str) -> bytes:
    done = subprocess.run([engine, *arguments], check=False, capture_output=True)  # noqa: S603 - the user's own engine
    if done.returncode != 0:
        sys.exit(f"{engine} {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
