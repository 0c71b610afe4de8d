"""Every `polserve` command in the documentation is one that the program takes, with its options and their values."""

import re
import shlex
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from polserve.serving.cli import build

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


def commands(document: Path) -> list[str]:
    """Return the commands in the document's blocks, and in its text where they have arguments."""
    text = re.sub(r"\\\n\s*", "", document.read_text())
    fenced = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    indented = "\n".join(re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE))
    blocks = re.findall(r"^(?:[A-Z_]+=\S+ )?(polserve [a-z].*)$", f"{fenced}\n{indented}", re.MULTILINE)
    inline = [found for found in re.findall(r"`(polserve [a-z]+[^`]*)`", text) if len(found.split()) > 2]
    return [re.sub(r"\s+(#.*|&)$", "", command) for command in (*blocks, *inline)]


def parse(command: str) -> None:
    """Parse a command as the program does, and do no more; raises where it would refuse it."""
    name, *arguments = shlex.split(command)[1:]
    group = get_command(build([name]))
    assert isinstance(group, TyperGroup)
    called = group.commands[name]
    while isinstance(called, TyperGroup):
        name, *arguments = arguments
        called = called.commands[name]
    called.make_context(name, arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_is_taken_as_it_is_written(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    named = re.findall(r"\b[\w./-]+\.(?:csv|json|zip|onnx|yaml|cleanrl_model)\b", document.read_text())
    for file in ("history.csv", *named):
        path = tmp_path / file
        if not file.startswith("policies/"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    monkeypatch.chdir(tmp_path)
    for command in commands(document):
        parse(command)


def test_most_documents_show_commands() -> None:
    assert sum(len(commands(document)) for document in DOCUMENTS) > 50


@pytest.mark.parametrize("command", ["polserve train --no-such-option", "polserve promote cartpole --rule best"])
def test_a_command_that_the_program_refuses_is_found(command: str) -> None:
    with pytest.raises(Exception, match=r"no-such-option|'best' is not one of"):
        parse(command)
