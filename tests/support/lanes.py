"""The lanes of tests: `make check` runs the fast ones, `make test` these and more, `make acceptance` the others.

In the fast lane, `pytest --fast`, are tests that start no process and import no torch. A file that imports torch,
itself or by what it imports, is not collected there. A test that starts processes is left out where its code, its
fixtures or their helpers name `subprocess`, or where it is marked `starts_processes`. Whatever gets through and starts
one fails.

A test gets the mark `acceptance` where its code, its fixtures or their helpers name one of ACCEPTANCE. A test that
needs a program beside Python, or trains from a command to a registered version, says so with that mark itself.
"""

import ast
import importlib.util
import inspect
import multiprocessing
import platform
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NoReturn

import pytest

OURS = ("polserve", "tests", "benchmarks", "deploy")
TESTS = Path(__file__).resolve().parents[1]
STARTERS = (subprocess, multiprocessing)
ACCEPTANCE = {
    "tests.support.disks.small_disk",
    "tests.support.documents.run_script",
    "tests.support.installing.install",
    "tests.support.installing.install_packages",
    "tests.support.running.mlflow_server",
}
"""Who mounts a disk, works through a document, makes another Python environment, or starts an MLflow server."""
SLOW_IMPORT = "torch"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests that start no process and import no torch")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "starts_processes: starts a process where its own code does not show it")
    config.addinivalue_line(
        "markers", "acceptance: takes long, or needs more than Python and what is installed with it"
    )
    if config.getoption("--fast"):
        sys.meta_path.insert(0, _Absent())
        platform.processor()  # asked for by libraries when they are imported; it starts `uname` once, and remembers


class _Absent:
    """Finds no torch, so that an import which `imports_torch` has overlooked is seen."""

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        if name == SLOW_IMPORT:
            raise ModuleNotFoundError("the fast lane has no torch", name=name)
        return None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if config.getoption("--fast") and is_test and imports_torch(collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if is_acceptance(item):
            item.add_marker("acceptance")
    if config.getoption("--fast"):
        left_out = [item for item in items if starts_processes(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session", autouse=True)
def _no_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """In the fast lane, fail what starts a process."""

    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise AssertionError("a test of the fast lane started a process: mark it with pytest.mark.starts_processes")

    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--fast"):
            patch.setattr(subprocess.Popen, "__init__", refuse)
            patch.setattr(subprocess.Popen, "__del__", lambda _self: None)
            patch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
        yield


def imports_torch(path: Path) -> bool:
    """Whether a file imports torch when it is imported, itself or by what it imports of ours."""
    seen: set[str] = set()
    waiting = _imports(path)
    while waiting:
        name = waiting.pop()
        if name.split(".")[0] == SLOW_IMPORT:
            return True
        if name.split(".")[0] in OURS and name not in seen:
            seen.add(name)
            waiting |= _imports_of(name)
    return False


def starts_processes(item: pytest.Item) -> bool:
    """Whether a test's own code, its fixtures or their helpers name what starts processes."""
    if not isinstance(item, pytest.Function) or item.get_closest_marker("starts_processes"):
        return True
    return any(map(STARTING.finds, _functions_of(item)))


def is_acceptance(item: pytest.Item) -> bool:
    """Whether a test's own code, its fixtures or their helpers name what only acceptance tests do."""
    return isinstance(item, pytest.Function) and any(map(ACCEPTING.finds, _functions_of(item)))


def _functions_of(item: pytest.Function) -> list[Callable[..., Any]]:
    """A test's function, and those of its fixtures."""
    fixtures = item._fixtureinfo.name2fixturedefs.values()  # noqa: SLF001 - pytest has no public way
    used = [definition.func for definitions in fixtures for definition in definitions]
    return [item.function, *(function for function in used if function.__module__ != __name__)]


@cache
def _imports_of(module: str) -> set[str]:
    """What a module of ours imports, and its packages; nothing for a name that is no module."""
    packages = {module.rsplit(".", i)[0] for i in range(1, module.count(".") + 1)}
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    origin = spec.origin if spec else None
    return packages | (_imports(Path(origin)) if origin and origin.endswith(".py") else set())


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _imports(path: Path) -> set[str]:
    """The names that a file imports when it is imported: modules, and what may be one."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(_parsed(path).body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            found |= {statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)}
        elif isinstance(statement, ast.Try | ast.With):
            waiting += statement.body
    return found


class Search:
    """Looks for functions of the tests that name what is wanted, or something of the tests that does."""

    def __init__(self, is_wanted: Callable[[object], bool]) -> None:
        self._is_wanted = is_wanted
        self._without: set[types.FunctionType] = set()
        self._with: set[object] = set()

    def finds(self, function: object) -> bool:
        """Whether a function names it, itself or by what it calls."""
        if function in self._with:
            return True
        seen: set[types.FunctionType] = set()
        found = self._reaches(function, seen)
        if found:
            self._with.add(function)
        else:
            self._without |= seen
        return found

    def _reaches(self, value: object, seen: set[types.FunctionType]) -> bool:
        if isinstance(value, type):
            return any(self._reaches(method, seen) for method in vars(value).values())
        function = inspect.unwrap(value) if callable(value) else None
        if not isinstance(function, types.FunctionType) or function in seen or function in self._without:
            return False
        if not Path(function.__code__.co_filename).is_relative_to(TESTS):
            return False
        seen.add(function)
        named = [function.__globals__.get(name) for name in _names(function.__code__)]
        return any(map(self._is_wanted, named)) or any(self._reaches(value, seen) for value in named)


def _full_name(value: object) -> str:
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', None)}"


STARTING = Search(lambda value: isinstance(value, types.ModuleType) and value in STARTERS)
ACCEPTING = Search(lambda value: _full_name(value) in ACCEPTANCE)


def _names(code: types.CodeType) -> set[str]:
    """The global names in a function and in what it defines."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))
