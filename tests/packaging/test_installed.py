"""What is published installs one name, and works from an application whose folders are named as ours."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.installing import FOLDERS, Installed, build, copy_source, install
from tests.support.running import ROOT


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from a copy of the repository."""
    folder = tmp_path_factory.mktemp("sdist")
    return build(copy_source(folder / "source", has_links=True), "sdist", folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    return build(copy_source(folder / "source", has_links=True), "wheel", folder)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A fresh environment with that wheel."""
    return install(wheel, tmp_path_factory.mktemp("environment") / "from-wheel")


def published() -> set[str]:
    """Return the files that an installation must have: those of the repository, under one name."""
    names = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            is_ours = path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(".log")
            inside = path.relative_to(ROOT / folder)
            if is_ours and not (ROOT / folder / inside.parts[0]).is_symlink():
                names.add(str(Path("polserve") / ("" if folder == "polserve" else folder) / inside))
    return names


def test_the_wheel_holds_one_package_with_every_file_of_ours(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == published()


def test_the_source_distribution_holds_no_links_caches_or_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {str(Path(*Path(member.name).parts[1:])) for member in members}
    assert all(member.isfile() for member in members)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO", "serving/cli.py", "training/runs/recipe.py"} <= names


@pytest.fixture(scope="module")
def from_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository that has lost its links, and has no git."""
    return copy_source(tmp_path_factory.mktemp("zip") / "source", has_links=False)


@pytest.mark.parametrize("source", ["sdist", "from_zip"])
def test_an_installation_from_source_is_that_of_the_wheel(
    request: pytest.FixtureRequest, installed: Installed, tmp_path: Path, source: str
) -> None:
    other = install(request.getfixturevalue(source), tmp_path / "environment")
    assert other.files() == installed.files() == published()
    assert top_level_names(other) == top_level_names(installed) == ["polserve"]
    assert other.run("polserve", "--version", cwd=tmp_path) == installed.run("polserve", "--version", cwd=tmp_path)


def top_level_names(installed: Installed) -> list[str]:
    """Return the names that an installation adds to an environment."""
    kept = {path.name for path in installed.site.iterdir() if not path.name.endswith((".dist-info", ".pth"))}
    return sorted(kept - {"__pycache__"})


def test_a_copy_of_the_repository_without_links_can_be_imported_as_it_is(installed: Installed, tmp_path: Path) -> None:
    source = copy_source(tmp_path / "source", has_links=False)
    code = "import polserve.serving.cli, polserve.protos.tensors as t, polserve.training.errors; print(t.__file__)"
    assert installed.run("python", "-c", code, cwd=source).strip() == f"{source}/protos/tensors.py"
