"""What a user's own files hide is named, when a program of theirs or the command line meets it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import environment


def python(*arguments: str, folder: Path) -> str:
    """Standard error of a Python program that fails in `folder`, which is first on its path."""
    result = subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, cwd=folder, env=environment()
    )
    assert result.returncode == 1, result.stderr
    return result.stderr


def test_a_file_named_polserve_beside_a_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "polserve.py").write_text("")
    (tmp_path / "app.py").write_text("from polserve import PolicyClient\n")
    assert f"from 'polserve' ({tmp_path}/polserve.py)" in python("app.py", folder=tmp_path)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("typer", ("--version",)),
        ("numpy", ("serve", "--grpc-port", "0", "--http-port", "0")),
        ("grpc", ("policies", "--wait", "0")),
        ("gymnasium", ("train", "cartpole")),
    ],
)
@pytest.mark.parametrize("form", ["{}.py", "{}/__init__.py"])
def test_a_file_that_hides_a_library_is_named_by_each_command_that_needs_it(
    tmp_path: Path, module: str, arguments: tuple[str, ...], form: str
) -> None:
    own = tmp_path / form.format(module)
    own.parent.mkdir(exist_ok=True)
    own.write_text("")
    error = python("-m", "polserve", *arguments, folder=tmp_path)
    assert error.startswith(f"error: {own} was imported as the module {module}, and hides /")
    assert error.count("\n") == 1


def test_a_folder_named_grpc_beside_a_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "grpc").mkdir()
    (tmp_path / "grpc" / "__init__.py").write_text("")
    (tmp_path / "app.py").write_text("from polserve import PolicyClient\n")
    last_line = python("app.py", folder=tmp_path).splitlines()[-1]
    assert last_line.startswith(
        f"ImportError: {tmp_path}/grpc/__init__.py was imported as the module grpc, and hides /"
    )


def test_folders_named_as_ours_were_hide_nothing(tmp_path: Path) -> None:
    for name in ("protos", "serving", "training", "policies", "tests", "commands"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError('{name} of the application')\n")
    (tmp_path / "polserve.yaml").write_text("")
    error = python("-m", "polserve", "policies", "--wait", "0", "--target", "127.0.0.1:1", folder=tmp_path)
    assert "no polserve answers at 127.0.0.1:1" in error
    error = python("-m", "polserve", "train", "--algo", "dqn", "--env", "Nowhere-v0", folder=tmp_path)
    assert "Nowhere" in error
