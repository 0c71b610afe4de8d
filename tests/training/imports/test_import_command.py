"""`polserve import` as a person uses it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polserve.training.commands.imports import imports
from polserve.training.errors import ImportRefused, InvalidOption
from tests.support.sb3_files import FIXTURE

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


def test_a_file_becomes_a_version_in_a_folder(tmp_path: Path) -> None:
    folder = ("--no-register", "--folder", str(tmp_path), "--name", "choice")
    done = CliRunner().invoke(imports, ["sb3", str(FIXTURE), *folder], catch_exceptions=False)
    assert done.exit_code == 0
    assert "QR-DQN of sb3-contrib 2.9.2, compared with " in done.stdout
    assert (
        f"wrote choice/1 into {tmp_path / 'choice' / '1'}; polserve serve --policies {tmp_path} serves" in done.stdout
    )
    assert "it is not evaluated: no environment was named" in done.stderr
    again = CliRunner().invoke(imports, ["sb3", str(FIXTURE), *folder, "--json"], catch_exceptions=False)
    figures = json.loads(again.stdout)
    assert (figures["version"], figures["observations"], figures["mean_return"]) == ("2", 1_000, None)


def test_what_a_user_can_cause_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"none")
    with pytest.raises(ImportRefused, match="no zip archive"):
        CliRunner().invoke(imports, ["sb3", str(tmp_path / "model.zip"), "--no-register"], catch_exceptions=False)
    with pytest.raises(InvalidOption, match="name: expected letters"):
        CliRunner().invoke(imports, ["sb3", str(FIXTURE), "--name", "/"], catch_exceptions=False)


def test_a_file_that_does_not_exist_is_bad_usage() -> None:
    assert CliRunner().invoke(imports, ["sb3", "nowhere.zip"]).exit_code == 2
