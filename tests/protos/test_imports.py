"""Why an import failed is told by what is truly missing, or by the file that stands in a module's place."""

import importlib
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from polserve.protos.shared.imports import EXTRAS, OFFLINE_SIDE, why_import_failed
from tests.support.running import ROOT


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torch", "this command needs torch; install it with: pip install 'polserve[training]'"),
        ("ale_py.roms", "this command needs ale_py.roms; install it with: pip install 'polserve[atari]'"),
        (
            "polserve.training",
            "this command needs polserve.training; install it with: pip install 'polserve[training]'",
        ),
        ("grpc_health.v1", "the Python module grpc_health is missing; pip install 'grpcio-health-checking'"),
        ("google.protobuf.any", "the Python module google.protobuf is missing; pip install 'protobuf'"),
        ("boto3", "the Python module boto3 is missing; pip install 'boto3'"),
    ],
)
def test_what_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch, name: str, reason: str) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, name.partition(".")[0], raising=name == OFFLINE_SIDE)
    assert why_import_failed(ModuleNotFoundError(name=name)) == reason


@pytest.mark.parametrize("statement", ["import wave.reader", "from wave import Sound", "import wave; wave.Sound"])
def test_a_file_that_hides_a_module_is_named_with_the_module_that_it_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    own = tmp_path / "wave.py"
    own.write_text("")
    with pytest.raises((ImportError, AttributeError)) as failure:
        exec(statement)  # noqa: S102 - a statement of the table above
    reason = why_import_failed(failure.value)
    assert reason is not None
    assert reason.startswith(f"{own} was imported as the module wave, and hides /")
    assert reason.endswith("; rename it, or take its folder off the path")


def test_a_folder_of_the_same_name_is_no_package_that_brings_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "psycopg3").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError) as failure:
        importlib.import_module("psycopg3.pool")
    reason = why_import_failed(failure.value)
    assert reason == (
        f"the Python module psycopg3 is missing; pip install 'psycopg3' ({tmp_path}/psycopg3 is no such package)"
    )


def test_a_package_of_another_version_is_told_from_one_that_is_missing() -> None:
    with pytest.raises(ImportError) as failure:
        exec("from typer import NoSuchName")  # noqa: S102
    reason = why_import_failed(failure.value)
    assert reason is not None
    assert "typer is incomplete or of a version that polserve does not take; reinstall it" in reason
    assert typer_file() in reason


def typer_file() -> str:
    return str(importlib.import_module("typer").__file__)


def test_polserve_found_on_the_path_alone_is_told_from_one_that_is_installed() -> None:
    reason = "polserve is not installed, only found on the path; run: pip install 'polserve'"
    assert why_import_failed(PackageNotFoundError("polserve")) == reason


@pytest.mark.parametrize(
    "statement", ["None.x", "from polserve.serving.errors import NoSuchError", "raise ImportError"]
)
def test_a_defect_is_not_explained_away(statement: str) -> None:
    with pytest.raises((ImportError, AttributeError)) as failure:
        exec(statement)  # noqa: S102
    assert why_import_failed(failure.value) is None


def test_each_extra_names_the_modules_of_what_it_installs() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        for requirement in declared[extra]:
            name = requirement.partition(">")[0].partition("[")[0].replace("-", "_").replace("pyyaml", "yaml")
            assert name in modules or name == "mlflow", "mlflow is known by what only the full one needs"
