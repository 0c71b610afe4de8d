"""The spec beside a graph, read from YAML; every error names the field, what was expected and what came."""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.form import Form, GraphForm

MOST_BYTES = 1 << 20
MOST_FAULTS = 3
"""Faults that an error lists."""
MANUAL = "docs/import.md has an example"
_FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")
"""Numbers such as 1e-8, which YAML 1.1 takes for text."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped
    """The safe loader, for which 1e-8 is a number."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def read_form(path: Path) -> GraphForm:
    """Read the spec beside a graph.

    Raises:
        ImportRefused: it is none.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ImportRefused(f"{path.name}: expected at most {MOST_BYTES:,} bytes, got {size:,}")
        given = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - derived from the safe one
    except OSError as error:
        raise ImportRefused(f"{path}: expected a file that can be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ImportRefused(f"{path.name}: expected YAML, got something else: {reason}; {MANUAL}") from error
    return form_of({} if given is None else given, path.name)


def form_of(given: Any, where: str) -> GraphForm:
    """Check the spec's fields.

    Raises:
        ImportRefused: one is wrong.
    """
    if not isinstance(given, dict):
        raise ImportRefused(f"{where}: expected fields with values, got {given!r}; {MANUAL}")
    try:
        return GraphForm.model_validate(given)
    except ValidationError as error:
        faults = dict.fromkeys(_sentence(dict(fault), given) for fault in error.errors())  # one each
        raise ImportRefused(f"{where}: {'; '.join(list(faults)[:MOST_FAULTS])}; {MANUAL}") from error


def _sentence(fault: dict[str, Any], given: Any) -> str:
    """Say what is wrong with a field, in our own form."""
    is_its_presence = fault["type"] in {"missing", "extra_forbidden"}  # which says nothing of the last field's form
    for i, part in enumerate(fault["loc"][:-1] if is_its_presence else fault["loc"]):
        if part in _OF_SEVERAL_FORMS:
            value = given
            for key in fault["loc"][: i + 1]:
                value = value[key]
            field = ".".join(map(str, fault["loc"][: i + 1]))
            return f"{field}: expected {_OF_SEVERAL_FORMS[part]}, got {value!r}"
    field = ".".join(map(str, fault["loc"])) or "spec"
    if fault["type"] == "extra_forbidden":
        return f"{field}: expected no such field; known here are {_known(fault['loc'][:-1])}"
    if fault["type"] == "missing":
        return f"{field}: expected a value, got none"
    if fault["type"] in {"model_type", "dict_type"}:
        return f"{field}: expected fields with values, got {fault['input']!r}"
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{field}: {message}" if ", got " in message else f"{field}: {message}, got {fault['input']!r}"


_OF_SEVERAL_FORMS = {
    "take": "[from, to], a name, or a list of names",
    "value": "a number, a list of numbers, true or false",
    "low": "a number, or a list of numbers",
    "high": "a number, or a list of numbers",
    "output": "the name of an output, or for actions a list of such names",
}
"""Fields that may be written in several ways, in each of which pydantic tells what is wrong."""


def _known(location: tuple[Any, ...]) -> str:
    """Name the fields of the form at a location."""
    form: type[Form] = GraphForm
    for part in location:
        if isinstance(part, str) and part in form.model_fields:
            form = _form_in(form.model_fields[part].annotation) or form
    return ", ".join(form.model_fields)


def _form_in(annotation: Any) -> type[Form] | None:
    """Find the form that a field's annotation names, within unions and lists."""
    if isinstance(annotation, type) and issubclass(annotation, Form):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _form_in(part))), None)
