"""polserve built as it is published, and installed in environments of their own."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.support.running import ROOT, environment

FOLDERS = ("polserve", "protos", "serving", "training", "policies")
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", ".gitignore")


@dataclass(frozen=True)
class Installed:
    """An environment with polserve, which sees the libraries of the running interpreter and not its polserve."""

    folder: Path

    @property
    def site(self) -> Path:
        """The folder that packages are installed in."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a program that runs in it: no path but its own."""
        return {name: value for name, value in environment().items() if name not in ("PYTHONPATH", "PYTHONHOME")}

    def run(self, *command: str, cwd: Path, **changes: str) -> str:
        """Run one of its programs to its end in a folder; return what it printed."""
        result = subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**self.environment, **changes},
        )
        assert result.returncode == 0, f"{' '.join(command)}: {result.stdout[-1000:]}{result.stderr[-3000:]}"
        return result.stdout

    def files(self) -> set[str]:
        """Return the files that it has of polserve, but its metadata and compiled modules."""
        folders = (self.site / "polserve").rglob("*")
        files = {str(path.relative_to(self.site)) for path in folders if path.is_file()}
        return {name for name in files if "__pycache__" not in name}


def copy_source(folder: Path, *, has_links: bool) -> Path:
    """Copy what is published of the repository, without git; without its links as a zip has it, or with them."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    for link in folder.glob("polserve/*"):
        if link.is_symlink() and not has_links:
            target = str(link.readlink())
            link.unlink()
            link.write_text(target)  # as git writes a link where none can be made
    return folder


def build(source: Path, kind: str, folder: Path) -> Path:
    """Build a "wheel" or an "sdist" of a source tree by its own build backend; return its file."""
    code = f"import hatchling.build, sys; print(hatchling.build.build_{kind}(sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=False, capture_output=True, text=True, cwd=source
    )
    assert result.returncode == 0, result.stderr
    return folder / result.stdout.split()[-1]


def install_packages(folder: Path, *requirements: str, built_with: tuple[str, ...] = (), has_deps: bool = True) -> Path:
    """Install packages from the index in a new environment that has ours, too; return its interpreter.

    A package that no current tool builds and installs names those that do in `built_with`, pip among them. Without
    `has_deps` only the packages that are named are installed: what else they need is ours, which takes much less time.
    """
    venv.create(folder, with_pip=False)
    python = str(folder / "bin" / "python")
    options = ["install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    if not has_deps:
        options.append("--no-deps")
    commands = [[sys.executable, "-m", "pip", "--python", python, *options, *(built_with or requirements)]]
    if built_with:
        commands.append([python, "-m", "pip", *options, "--no-build-isolation", *requirements])
    for command in commands:
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
    installed = Installed(folder)
    (installed.site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")  # last, so that they come last
    return folder / "bin" / "python"


def leave_out(installed: Installed, *libraries: str) -> None:
    """Let an environment see all libraries of the running interpreter but these, as if they were not installed."""
    (installed.site / "libraries.pth").unlink()
    own = {path.name for path in installed.site.iterdir()}
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        name = path.name.split("-")[0].split(".")[0]
        if name not in {*libraries, "polserve", "_polserve"} and path.suffix != ".pth" and path.name not in own:
            (installed.site / path.name).symlink_to(path)


def install(what: Path, folder: Path) -> Installed:
    """Install a wheel, an sdist or a source tree in a new environment, from this machine alone."""
    venv.create(folder, with_pip=False)
    installed = Installed(folder)
    (installed.site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")  # whose own .pth files stay out
    pip = ("--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-index", "--no-deps")
    result = subprocess.run(
        [sys.executable, "-m", "pip", *pip, "--no-build-isolation", "--ignore-installed", str(what)],
        check=False,
        capture_output=True,
        text=True,
        env={**installed.environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    assert result.returncode == 0, result.stderr
    return installed
