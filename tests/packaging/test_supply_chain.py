"""What the image is built from: every package is pinned by version and hash, audited, and listed."""

import json
import re
import subprocess
import sys
import tomllib
from datetime import date
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import audit, image_bill, lock
from tests.support.installing import install_packages
from tests.support.running import ROOT

TODAY = date(2030, 1, 15)
TOLD: list[dict[str, Any]] = [
    {"name": "quiet", "version": "1.0", "vulns": []},
    {"name": "leaky", "version": "2.0", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}]},
]


def pinned(path: Path) -> dict[str, str]:
    """Packages that a file pins, with their versions."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


def constraints() -> dict[str, str]:
    """Versions that everything here is tested with."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): number for name, _, number in (line.partition("==") for line in lines)}


def needed() -> set[str]:
    """What the service needs, and what that needs, by the metadata of what is installed."""
    found: set[tuple[str, str]] = set()
    waiting = [("", "", line) for line in lock.dependencies()]
    while waiting:
        _, wanted, line = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
            continue
        for one in {(canonicalize_name(requirement.name), extra) for extra in ("", *requirement.extras)} - found:
            found.add(one)
            waiting += [(*one, line) for line in requires(one[0]) or []]
    return {name for name, _ in found}


def test_the_image_gets_what_the_service_needs_in_the_versions_that_are_tested() -> None:
    versions = pinned(lock.REQUIREMENTS)
    assert set(versions) == needed(), "run `make lock`"
    tested = constraints()
    assert versions == {name: tested[name] for name in versions}, "run `make lock`"


@pytest.mark.parametrize("path", [lock.REQUIREMENTS, lock.BUILD_REQUIREMENTS], ids=["service", "build"])
def test_every_package_has_hashes_and_no_registry_is_named(path: Path) -> None:
    text = path.read_text()
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pinned(path))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}$", entry, re.MULTILINE) for entry in entries)
    assert "://" not in text
    assert "index" not in text


def test_compiled_packages_have_a_wheel_for_each_machine() -> None:
    text = lock.REQUIREMENTS.read_text()
    for name in ("grpcio", "numpy", "onnxruntime", "ngh2", "uvloop", "cryptography"):
        (entry,) = re.findall(rf"^{name}==(?:.*\\\n)*.*$", text, re.MULTILINE)
        assert entry.count("--hash") == len(lock.MACHINES), name


def test_what_is_pinned_differently_for_two_machines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def report(_requirements: object, machine: str) -> list[object]:
        number = "1" if machine == "x86_64" else "2"
        hashes = {"archive_info": {"hashes": {"sha256": "0" * 64}}}
        return [{"metadata": {"name": "some", "version": number}, "download_info": hashes}]

    monkeypatch.setattr(lock, "_report", report)
    with pytest.raises(SystemExit, match="expected one version of each package"):
        lock.resolve(["some"])


def test_a_known_vulnerability_fails_the_audit_until_it_is_accepted() -> None:
    report = audit.judge(TOLD, [], TODAY)
    assert report.exit_code == audit.VULNERABLE
    assert report.findings == {"PYSEC-1": "leaky 2.0, mended in 2.1"}
    for name in ("PYSEC-1", "CVE-1"):
        assert audit.judge(TOLD, [{"id": name, "until": TODAY}], TODAY).exit_code == audit.CLEAN
    past = audit.judge(TOLD, [{"id": "PYSEC-1", "until": date(2030, 1, 14)}], TODAY)
    assert (past.exit_code, past.overdue) == (audit.VULNERABLE, ["PYSEC-1"])


def test_a_package_that_nobody_knows_anything_of_is_not_called_clean() -> None:
    report = audit.judge([*TOLD[:1], {"name": "strange", "version": "1", "skip_reason": "not found"}], [], TODAY)
    assert (report.exit_code, report.unknown) == (audit.UNKNOWN, ["strange"])


def test_what_is_accepted_has_a_reason_and_a_last_day() -> None:
    for one in tomllib.loads(audit.ACCEPTED.read_text()).get("accepted", []):
        assert set(one) == {"id", "package", "reason", "until"}
        assert isinstance(one["until"], date)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of deploy/tools.txt, in an environment of their own."""
    names = [line for line in (ROOT / "deploy" / "tools.txt").read_text().splitlines() if line.startswith("cyclonedx")]
    return install_packages(tmp_path_factory.mktemp("tools") / "environment", *names).parent


def test_the_bill_of_materials_lists_each_package_with_its_hash(tools: Path, tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (command,) = re.findall(r"^\t\.venv/tools/bin/cyclonedx-py (.*\\\n.*)$", makefile, re.MULTILINE)
    arguments = command.replace("\\\n", " ").replace("dist/", f"{tmp_path}/").split()
    subprocess.run([str(tools / "cyclonedx-py"), *arguments], check=True, cwd=ROOT, capture_output=True)
    bill = json.loads((tmp_path / "polserve.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "polserve"
    assert bill["metadata"]["component"]["version"] == version("polserve")
    assert {one["name"]: one["version"] for one in bill["components"]} == pinned(lock.REQUIREMENTS)
    assert all(one["externalReferences"][0]["hashes"] for one in bill["components"])


STATUS = """Package: libstdc++6
Status: install ok installed
Architecture: amd64
Source: gcc-12
Version: 12.2.0-14+deb12u1
Description: GNU Standard C++ Library v3
 This package contains an additional runtime library.
 .
 Status: install ok installed

Package: zlib1g
Status: install ok installed
Architecture: amd64
Version: 1:1.2.13.dfsg-1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'


def test_each_package_of_debian_that_is_installed_has_its_package_url(tools: Path, tmp_path: Path) -> None:
    components = image_bill.system_components(STATUS, RELEASE)
    assert [(one["name"], one["version"], one.get("purl")) for one in components] == [
        ("debian", "12", None),
        (
            "libstdc++6",
            "12.2.0-14+deb12u1",
            "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12",
        ),
        ("zlib1g", "1:1.2.13.dfsg-1", "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12"),
    ]
    components += image_bill.python_component(["PATH=/usr/bin", "PYTHON_VERSION=3.11.9"])
    assert components[-1]["purl"] == "pkg:generic/python@3.11.9"
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": []}
    path = tmp_path / "bill.json"
    path.write_text(json.dumps(image_bill.whole_bill(bill, components)))
    code = (
        "import sys; from packageurl import PackageURL; from cyclonedx.schema import SchemaVersion\n"
        "from cyclonedx.validation.json import JsonStrictValidator\n"
        "import json; text = open(sys.argv[1]).read()\n"
        "assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None\n"
        "for one in json.loads(text)['components']:\n"
        "    if 'purl' in one:\n"
        "        read = PackageURL.from_string(one['purl'])\n"
        "        assert (read.name, read.version) == (one['name'], one['version'])\n"
        "        assert str(read) == one['purl'], str(read)\n"
    )
    done = subprocess.run([str(tools / "python"), "-c", code, str(path)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_libraries_report_their_use_to_nobody() -> None:
    code = (
        "import os; [os.environ.pop(name) for name in list(os.environ) if name.startswith(('PYTEST', 'CI'))]\n"
        "os.environ.pop('MLFLOW_DISABLE_TELEMETRY', None)\n"
        "import polserve.training.registry.store\n"
        "from mlflow.telemetry import get_telemetry_client; print(get_telemetry_client())"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "None"
