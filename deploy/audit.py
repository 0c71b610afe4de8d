"""Look up whether a vulnerability of a pinned package is known, with pip-audit; `make audit` runs it.

The exit code is 0 where none is known, 1 where one is (and not accepted in accepted-vulnerabilities.toml), and 3 where
no service that knows could be asked: then nothing is known, which is not the same as nothing being wrong.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINNED = (ROOT / "deploy" / "requirements.txt", ROOT / "deploy" / "build-requirements.txt", ROOT / "constraints.txt")
"""The image, what builds it, and everything else that is installed to work here."""
ACCEPTED = ROOT / "deploy" / "accepted-vulnerabilities.toml"
SERVICES = ("pypi", "osv")
"""Services that know, in the order in which they are asked."""
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Report:
    """What a service knows of the pinned packages."""

    findings: Mapping[str, str]
    """By the id of each vulnerability that is not accepted, the package and its mended versions."""
    unknown: Sequence[str]
    """Packages that the service does not know, so that nothing can be said of them."""
    overdue: Sequence[str]
    """Vulnerabilities that were accepted until a day that has passed; they count as findings again."""

    @property
    def exit_code(self) -> int:
        """What the program exits with."""
        if self.findings:
            return VULNERABLE
        return UNKNOWN if self.unknown else CLEAN


def main() -> int:
    """Audit what is pinned; print what is known and return the exit code."""
    for service in SERVICES:
        told = ask(service)
        if told is None:
            print(f"{service}: cannot be asked from here", file=sys.stderr)
            continue
        report = judge(told, tomllib.loads(ACCEPTED.read_text()).get("accepted", []), datetime.now(UTC).date())
        for one, where in report.findings.items():
            print(f"{one}: {where}{' (accepted until a day that has passed)' if one in report.overdue else ''}")
        if report.findings or not report.unknown:
            print(f"{service}: {len(report.findings)} vulnerabilities are known that are not accepted")
            return report.exit_code
        print(f"{service}: knows nothing of {', '.join(report.unknown)}", file=sys.stderr)
    print("not audited: no service that knows of vulnerabilities could be asked about every package", file=sys.stderr)
    return UNKNOWN


def ask(service: str) -> list[Any] | None:
    """Have pip-audit ask a service about every pinned package; None where that cannot be asked."""
    with tempfile.TemporaryDirectory() as folder:
        pinned, output = Path(folder) / "pinned.txt", Path(folder) / "report.json"
        lines = {line.split()[0] for path in PINNED for line in path.read_text().splitlines() if "==" in line}
        pinned.write_text("".join(f"{line}\n" for line in sorted(lines) if not line.startswith("#")))
        program = Path(sys.prefix) / "tools" / "bin" / "pip-audit"
        command = [str(program), "--vulnerability-service", service, "--no-deps", "--disable-pip"]
        command += ["--progress-spinner", "off", "--requirement", str(pinned), "--format", "json"]
        subprocess.run([*command, "--output", str(output)], check=False, stderr=subprocess.DEVNULL)  # noqa: S603
        if not output.exists() or not output.read_text():
            return None
        found: list[Any] = json.loads(output.read_text())["dependencies"]
        return found


def judge(told: Sequence[Mapping[str, Any]], accepted: Sequence[Mapping[str, Any]], today: date) -> Report:
    """Sort out what pip-audit told, by what is accepted and until when."""
    valid = {one["id"]: one["until"] for one in accepted}
    findings: dict[str, str] = {}
    for package in told:
        for one in package.get("vulns", []):
            names = {one["id"], *one.get("aliases", [])}
            if any(today <= valid[name] for name in names & valid.keys()):
                continue
            mended = ", ".join(one.get("fix_versions", [])) or "no version"
            findings[one["id"]] = f"{package['name']} {package['version']}, mended in {mended}"
    unknown = sorted(package["name"] for package in told if "skip_reason" in package)
    return Report(findings, unknown, sorted(one for one in findings if one in valid))


if __name__ == "__main__":
    sys.exit(main())
