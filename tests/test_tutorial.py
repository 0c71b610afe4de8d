"""The tutorial works as it is written, in a notebook: the program is the same, and needs less."""

import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

from tests.support.running import ROOT

TUTORIAL = ROOT / "examples" / "tutorial.py"


def test_the_notebook_is_the_program() -> None:
    of_program = [(cell.cell_type, cell.source) for cell in jupytext.read(TUTORIAL).cells[1:]]
    notebook = nbformat.read(TUTORIAL.with_suffix(".ipynb"), as_version=4)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells[1:]] == of_program, "run jupytext: see tutorial.py"


@pytest.mark.acceptance
@pytest.mark.starts_processes
def test_the_notebook_runs_where_an_event_loop_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(TUTORIAL.with_suffix(".ipynb"), as_version=4)
    checked = "import asyncio; assert asyncio.get_running_loop().is_running()"
    notebook.cells.insert(1, nbformat.v4.new_code_cell(checked))
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "tank/2: promoted: it is better" in said
    assert "@champion is version 1, after 2" in said
    assert not list(tmp_path.glob("mlflow.db"))
    assert sys.version.split()[0] in notebook.metadata.language_info.version
