"""Why an import failed: what is missing and how to get it, or which file stands in a module's place."""

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType

from polserve.protos.shared.packages import missing_package

OFFLINE_SIDE = "polserve.training"
"""The package that the image leaves out."""
EXTRAS = {
    "training": (
        *("alembic", "gymnasium", "imageio", "matplotlib", "onnx", "onnxscript", "psutil", "pydantic", "scipy"),
        *("sqlalchemy", "torch", "yaml", OFFLINE_SIDE),
    ),
    "atari": ("ale_py",),
}
"""Modules that an extra brings; of those that full mlflow brings, the two by which it is known."""


def why_import_failed(error: Exception) -> str | None:
    """Say in one line why an import failed, and what to do; None where the error says nothing of a module.

    An AttributeError is one of an import where another file was imported in a module's place.
    """
    if isinstance(error, PackageNotFoundError):
        return f"{error.name} is not installed, only found on the path; run: pip install '{error.name}'"
    name = _module_name(error)
    top = name.partition(".")[0]
    if top in ("", "polserve") and name != OFFLINE_SIDE:
        return None  # a defect of ours has a traceback that is of use
    places = list(_places(top))
    loaded = _loaded(top, places)
    if loaded is None or name == OFFLINE_SIDE:
        return _missing(ModuleNotFoundError(name=name), places)
    hidden = [place for place in places[1:] if place != loaded]
    if places[:1] == [loaded] and hidden and not _is_installed(loaded):
        return (
            f"{loaded} was imported as the module {top}, and hides {hidden[0]}, which polserve needs; "
            "rename it, or take its folder off the path"
        )
    if isinstance(error, AttributeError):
        return None
    return f"{error} (from {loaded}): {top} is incomplete or of a version that polserve does not take; reinstall it"


def _module_name(error: Exception) -> str:
    """Return the full name of the module that was not found, or that lacks a name."""
    if isinstance(error, AttributeError):
        return error.obj.__name__ if isinstance(error.obj, ModuleType) else ""
    return (error.name or "") if isinstance(error, ImportError) else ""


def _places(top: str) -> Iterator[str]:
    """Yield the files and folders on the path that could be imported as a module, the first one first."""
    for folder in dict.fromkeys(sys.path):
        spec = PathFinder.find_spec(top, [folder])
        if spec is not None:
            yield spec.origin or next(iter(spec.submodule_search_locations or ()), folder)


def _loaded(top: str, places: list[str]) -> str | None:
    """Return the file that a module was, or would be, imported from; None where there is none."""
    if top not in sys.modules:
        return places[0] if places else None
    return getattr(sys.modules[top], "__file__", None)


def _missing(error: ModuleNotFoundError, places: list[str]) -> str:
    """Say what to install; an extra only where the module belongs to it."""
    name = error.name or ""
    in_place = f" ({places[0]} is no such package)" if places and not _is_installed(places[0]) else ""
    for extra, modules in EXTRAS.items():
        if any(name == module or name.startswith(f"{module}.") for module in modules):
            return f"this command needs {name}; install it with: pip install 'polserve[{extra}]'{in_place}"
    return missing_package(error) + in_place


def _is_installed(place: str) -> bool:
    """Whether a file lies where packages are installed, so that it is no file of the user's own."""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(place).parts)
