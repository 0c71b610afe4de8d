"""What other people's clients did against a service, held against docs/compatibility.md.

A client runs as a script in an environment of its own (`run_client`), and prints each call that it makes with what came
of it. `check_page` compares the whole of it with the client's section of the page. `COMPATIBILITY=write pytest
tests/clients` writes the sections instead.
"""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.running import ROOT

PAGE = ROOT / "docs" / "compatibility.md"
SCRIPTS = ROOT / "tests" / "clients" / "scripts"
VARIABLE = "COMPATIBILITY"
HEAD = "| call | result |\n|---|---|\n"


@dataclass(frozen=True)
class Row:
    """A call that a client made, and what came of it."""

    call: str
    result: str

    def __str__(self) -> str:
        return f"| {self.call} | {self.result} |"


def run_client(command: Sequence[str], script: str, *arguments: str, cwd: Path) -> list[Row]:
    """Run a script of tests/clients/scripts to its end; return the rows that it printed, as `{"call", "result"}`.

    Args:
        command: what runs the script: an environment's Python, or node.
        script: its file.
        arguments: the service's address, among others.
        cwd: where it runs: a folder without the repository, so that it imports nothing of ours.
    """
    known = ("PATH", "HOME", "LANG", "TMPDIR")
    result = subprocess.run(
        [*command, str(SCRIPTS / script), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env={name: os.environ[name] for name in known if name in os.environ},
    )
    assert result.returncode == 0, f"{script}: {result.stdout[-2000:]}{result.stderr[-3000:]}"
    said = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return [Row(each["call"], each["result"]) for each in said]


def check_page(client: str, rows: Sequence[Row], page: Path = PAGE) -> None:
    """Fail where the client's section of the page says anything else; or write it, where that is asked for."""
    assert rows, f"{client} made no call"
    section = f"## {client}\n\n{HEAD}" + "".join(f"{row}\n" for row in rows)
    text = page.read_text()
    if os.environ.get(VARIABLE) == "write":
        page.write_text(with_section(text, section))
    else:
        remedy = f"run `{VARIABLE}=write pytest {Path('tests') / 'clients'}` and look at the difference"
        assert section in text, f"{page.name} says otherwise of {client}; {remedy}\n{section}"


def with_section(text: str, section: str) -> str:
    """Return a page in which a section stands among the others, in the order of their headings."""
    intro, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    heading = section.splitlines()[0]
    others = {one.splitlines()[0]: one.rstrip() + "\n" for one in sections}
    others[heading] = section
    return intro.rstrip() + "\n\n" + "\n".join(others[name] for name in sorted(others))
