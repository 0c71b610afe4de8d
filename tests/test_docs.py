"""The documentation says what is, and its commands work."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from polserve.serving.settings.settings import FORMS
from tests.support.commands import polserve_here
from tests.support.documents import background, blocks, ports, run_script
from tests.support.running import ROOT, environment, service, wait_until

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])
ELSEWHERE = {
    "make ": ".ci/run runs them",
    "docker ": "tests/image builds and runs the image",
    "polserve import sb3": "tests/training/imports and the tutorial import such files",
    "polserve train --algo": "the guide to environments of one's own runs it, with the module",
}
"""Commands of the README that are not run here, and who runs them."""


def readme_commands(*, are_run_here: bool) -> list[str]:
    """Return the shell blocks of the README: those that are run here, or the others."""
    return [block for block in blocks("README.md", "sh") if are_run_here != block.startswith(tuple(ELSEWHERE))]


def is_defined(name: str) -> bool:
    """Return whether a dotted name is a module of ours, or something that one defines at its top or exports."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    owner = next(
        (file for file in (path.parent.with_suffix(".py"), path.parent / "__init__.py") if file.exists()), None
    )
    return owner is not None and bool(
        re.search(
            rf'^(def|class) {path.name}\b|^{path.name}\b.* =|^__all__ = .*"{path.name}"',
            owner.read_text(),
            re.MULTILINE,
        )
    )


def test_the_readme_serves_and_asks_the_bundled_policies(tmp_path: Path) -> None:
    changes = ports()
    commands = readme_commands(are_run_here=True)[0]
    commands = commands.replace("localhost:8080", f"127.0.0.1:{changes['POLSERVE_HTTP_PORT']}")
    (example,) = blocks("README.md", "python")
    (tmp_path / "example.py").write_text(example.replace("localhost:50051", changes["POLSERVE_TARGET"]))
    output = run_script(background(commands) + "\npython example.py\nkill $(jobs -p)\nwait\n", tmp_path, **changes)
    assert "action 1 (push right) by cartpole/1" in output
    assert '{"policy": "cartpole", "version": "1", "action": 1}' in output
    assert "left for later" in output
    assert "\n1 1\nreturn 1.0\n" in output
    assert (tmp_path / "cartpole.gif").stat().st_size > 1000


def made_short(script: str) -> str:
    """The script with options that let each of its trainings and promotions end in seconds, the second better."""
    few = {
        "polserve train cartpole": "--steps 500 --set evaluation_episodes=20",
        "polserve train cartpole --seed 1": "--steps 4000 --set evaluation_episodes=20",
        "polserve evaluate cartpole/2": "--episodes 20",
        "polserve promote cartpole/2 --rule not-worse": "--episodes 50",
    }
    lines = script.splitlines()
    assert set(few) <= set(lines)
    return "\n".join(" ".join((line, few[line])) if line in few else line for line in lines)


def test_the_readme_trains_promotes_and_rolls_back(tmp_path: Path) -> None:
    commands = made_short("\n".join(readme_commands(are_run_here=True)[1:]))
    script = background(commands).replace("--port 5000", "--port $PORT").replace("127.0.0.1:5000", "127.0.0.1:$PORT")
    output = run_script(script, tmp_path, **ports())
    assert "registered cartpole/2" in output
    assert "cartpole/2 is @champion now" in output
    assert "cartpole/1 is @champion again, in place of 2" in output


def test_the_python_that_the_readme_shows_first_is_eight_lines_long() -> None:
    (example,) = blocks("README.md", "python")
    assert len([line for line in example.splitlines() if line]) <= 8


def test_every_command_that_is_not_run_here_is_run_elsewhere() -> None:
    lines = [line for block in readme_commands(are_run_here=False) for line in block.splitlines()]
    assert all(line.startswith(tuple(ELSEWHERE)) for line in lines)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`?make ([a-z]+)", "\n".join((*lines, (ROOT / "docs/contributing.md").read_text())))
    assert set(named) <= set(targets)


def test_two_workers_answer_a_load_test_as_the_guide_says(tmp_path: Path) -> None:
    (commands,) = blocks("docs/running.md", "sh")
    output = run_script(background(commands) + "\nkill $(jobs -p)\nwait\n", tmp_path, **ports())
    assert "calls answered in" in output


def test_an_environment_of_the_users_own_is_trained_as_the_guide_says(tmp_path: Path) -> None:
    (command,) = blocks("docs/own-environment.md", "sh")
    (tmp_path / "my_envs.py").write_text("\n".join(blocks("docs/own-environment.md", "python")))
    few = "--set evaluation_episodes=20 --set selection_episodes=5"
    output = run_script(f"{command.rstrip()} {few}", tmp_path)
    assert "thermostat-v0 on Thermostat-v0: mean return" in output
    assert "registered thermostat-v0/1" in output
    look = (
        "from polserve.training.environments.inspection import inspect_environment as look\n"
        "from polserve.training.environments.making import EnvironmentSpec as Spec, with_graph_wrappers as beneath\n"
        'print(look(beneath(Spec("ScaledThermostat-v0", module="my_envs"))))\n'
        'print(look(beneath(Spec("NormalisedThermostat-v0", module="my_envs"))))'
    )
    output = run_script(f"python -c '{look}'", tmp_path)
    assert "('temperature', 'degrees above 20')" in output
    assert "the graph does what TransformObservation does to observations" in output
    assert "the graph does what NormalizeObservation does to observations" in output


@pytest.mark.acceptance
def test_the_guide_to_budgets_works_as_written(tmp_path: Path) -> None:
    with service(folder=tmp_path) as running:
        wait_until(lambda: running.ready_page()[0] == 200, running.log)
        script = "\n".join(blocks("docs/adbudget.md", "python")).replace("localhost:50051", running.target)
        result = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False
        )
        assert result.returncode == 0, result.stderr
        answer = polserve_here(
            *("allocate", "adbudget", "--remaining", "27400", "--total", "30000", "--day", "3", "--weekday", "3"),
            *("--spent", "facebook=610,655,700", "--target", running.target),
        )
    assert "left for later" in answer.stdout
    assert len((tmp_path / "contexts.jsonl").read_text().splitlines()) == 20


def test_every_setting_is_documented_with_its_variable() -> None:
    documented = (ROOT / "docs/settings.md").read_text()
    for name, form in FORMS.items():
        assert f"`{form.variable}`" in documented, name


def test_every_flag_of_serve_is_documented() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "polserve", "serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(COLUMNS="200"),
    )
    flags = set(re.findall(r"(--[a-z-]+)", result.stdout)) - {"--help"}
    documented = set(re.findall(r"`(--[a-z-]+)`", (ROOT / "docs/settings.md").read_text()))
    assert flags == documented


def test_every_command_is_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    documented = (ROOT / "docs/commands.md").read_text()
    for command in project["project"]["entry-points"]["polserve.commands"]:
        assert f"| `polserve {command}` |" in documented


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", document.read_text()):
        if target.startswith("http"):
            continue
        linked = document.parent / target if target else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("page", ["security.md", "reliability.md"])
def test_every_promise_of_a_page_names_tests_that_are_there(page: str) -> None:
    rows = re.findall(r"^\| [^|]+ \| (`tests/[^|]*) \|$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    assert len(rows) > 10
    for path in (path for row in rows for path in re.findall(r"`([^`]+)`", row)):
        assert "def test_" in (ROOT / path).read_text(), path


def test_the_index_leads_to_every_document() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)", index.read_text())}
    records = {path for path in DOCUMENTS if path.parent.name == "adr"} - {ROOT / "docs/adr/README.md"}
    assert set(DOCUMENTS) - records - {index} <= listed


def test_every_decision_record_has_a_date_and_a_status_and_is_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    for record in sorted((ROOT / "docs/adr").glob("0*.md")):
        text = record.read_text()
        assert re.search(r"^\*\*Date.\*\* 20\d\d-\d\d-\d\d\. \*\*Status.\*\* \w+", text, re.MULTILINE), record.name
        assert f"]({record.name})" in listed


def test_every_file_that_a_document_names_exists() -> None:
    folders = "protos|training|serving|polserve|policies|benchmarks|tests|deploy|docs|examples"
    for document in DOCUMENTS:
        for name in re.findall(rf"`((?:{folders})/[\w/.-]+(?:/|\.\w+))`", document.read_text()):
            assert (ROOT / name).exists(), f"{document.relative_to(ROOT)}: {name}"


def test_every_module_that_a_document_names_exists() -> None:
    for document in DOCUMENTS:
        for name in re.findall(
            r"`(?:python -m )?(polserve\.(?:protos|serving|testing|training)\b[\w.]*)`", document.read_text()
        ):
            assert is_defined(name), f"{document.relative_to(ROOT)}: {name}"


def test_every_class_in_the_glossary_exists() -> None:
    glossary = (ROOT / "docs/contributing.md").read_text().partition("## Glossary")[2]
    named = set(re.findall(r"`([A-Z][a-z]\w+)`", "\n".join(line.split("|")[1] for line in glossary.splitlines()[4:])))
    sides = ("serving", "training", "protos")
    code = "\n".join(path.read_text() for side in sides for path in (ROOT / side).rglob("*.py"))
    assert len(named) > 10
    assert named <= set(re.findall(r"^class (\w+)", code, re.MULTILINE))
