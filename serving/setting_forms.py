"""How each setting is written: its flag, its variable, its default, and what a value must be."""

import ast
import itertools
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

import annotated_types as at
from pydantic.fields import FieldInfo

NAMES = "NAME"
"""What stands for a value that names a policy or an alias."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What help, docs and errors show of a setting where its name and default do not tell."""

    flag: str = ""
    """Flag without its dashes."""
    default: str = ""
    expected: str = ""
    """What a value must be."""
    remedy: str = ""
    """What to do about one that is not, where that says more."""


@dataclass(frozen=True, slots=True)
class SettingForm:
    """One setting as people meet it."""

    name: str
    """The field of `Settings`."""
    flag: str
    """Flag with its dashes."""
    variable: str
    default: str
    """Default as help and docs show it."""
    meaning: str
    value: str | None
    """What stands for a value in the help, such as <int>; None for a switch."""
    expected: str
    """What a value must be, as an error says it."""
    remedy: str
    """What to do about one that is not, where that says more."""
    is_repeatable: bool

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.value is None

    @property
    def flags(self) -> str:
        """The flag, and for a switch the one that turns it off."""
        return f"{self.flag}/--no-{self.flag.removeprefix('--')}" if self.is_switch else self.flag


def setting_forms(fields: Mapping[str, FieldInfo], meanings: Mapping[str, str], prefix: str) -> dict[str, SettingForm]:
    """Read the forms of settings off their fields; return them by name.

    Args:
        fields: of the class that holds the settings.
        meanings: what each of them means.
        prefix: of the variables of those that do not name one.
    """
    return {name: _form(name, field, meanings.get(name, ""), prefix) for name, field in fields.items()}


def attribute_docstrings(*classes: type) -> dict[str, str]:
    """Docstrings of the attributes that classes define, by the attribute's name.

    pydantic can read them too, but looks for each class in all modules that are imported: a third of a second at each
    start, where this takes a hundredth.
    """
    return {name: text for kind in classes for name, text in _documented(kind)}


def _documented(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the attributes of a class that have a docstring; none where its module has no source."""
    loader: Any = getattr(sys.modules[kind.__module__].__spec__, "loader", None)
    source = loader.get_source(kind.__module__) or ""
    defined = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    body = next((node.body for node in defined if node.name == kind.__name__), [])
    for attribute, after in itertools.pairwise(body):
        match attribute, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())


def written(form: SettingForm, given: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Return what the user wrote to set a setting: its flag, else its variable; its flag where nobody set it."""
    if given.get(form.name) is not None:
        return form.flag
    found = (variable for variable, text in environment.items() if text and variable.upper() == form.variable)
    return next(found, form.flag)


def _form(name: str, field: FieldInfo, meaning: str, prefix: str) -> SettingForm:
    shown = next((extra for extra in field.metadata if isinstance(extra, Shown)), Shown())
    kind = _kind(field.annotation)
    return SettingForm(
        name=name,
        flag=f"--{shown.flag or name.replace('_', '-')}",
        variable=str(field.validation_alias or f"{prefix}{name.upper()}"),
        default=shown.default or _default(field.default),
        meaning=meaning,
        value=_value(kind),
        expected=shown.expected or _expected(kind, field),
        remedy=shown.remedy,
        is_repeatable=kind is tuple,
    )


def _kind(annotation: Any) -> Any:
    """Return the type of a value that is given: int for `int | None`, tuple for any tuple."""
    if typing.get_origin(annotation) in (types.UnionType, Union):
        (annotation,) = (kind for kind in typing.get_args(annotation) if kind is not types.NoneType)
    return tuple if typing.get_origin(annotation) is tuple else annotation


def _default(value: Any) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case tuple():
            return ", ".join(map(str, value))
    return str(value)


def _value(kind: Any) -> str | None:
    if typing.get_origin(kind) is Literal:
        return "|".join(typing.get_args(kind))
    return {bool: None, tuple: NAMES, Path: "<path>", int: "<int>", float: "<float>"}.get(kind, "<str>")


def _expected(kind: Any, field: FieldInfo) -> str:
    if typing.get_origin(kind) is Literal:
        *others, last = typing.get_args(kind)
        return f"{', '.join(others)} or {last}"
    noun = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "some text")
    return " ".join(filter(None, [noun, _range(field)]))


def _range(field: FieldInfo) -> str:
    """Say between which numbers a setting must lie; empty where there are no limits."""
    limits = {type(limit): limit for limit in field.metadata}
    match limits.get(at.Gt), limits.get(at.Ge), limits.get(at.Le):
        case None, at.Ge(ge=low), at.Le(le=high):
            return f"from {low} to {high}"
        case at.Gt(gt=low), None, at.Le(le=high):
            return f"above {low} and at most {high}"
        case at.Gt(gt=low), None, None:
            return f"above {low}"
        case None, at.Ge(ge=low), None:
            return f"of at least {low}"
    return ""
