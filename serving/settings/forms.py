"""How each setting is written: its flag, its variable, its default, and what a value must be."""

import ast
import dataclasses
import itertools
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

NAMES = "NAME"
"""What stands for a value that names a policy or an alias."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers between which a setting lies; None where there is no limit."""

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one setting: it returns the value to use, or raises ValueError."""

    of: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """What help, docs and errors show of a setting where its name and default do not tell."""

    flag: str = ""
    """Flag without its dashes."""
    variable: str = ""
    """Variable, where the field's name does not make it."""
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
    kind: Any
    """Type of a value that is given: int for `int | None`, tuple for any tuple, a Literal."""
    limits: Limits
    check: Callable[[Any], Any] | None
    """Further check of a value; it returns the one to use, or raises ValueError."""
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

    @property
    def is_repeatable(self) -> bool:
        """Whether the flag may be given several times."""
        return self.kind is tuple

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that there are; none where it may be any of its kind."""
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is Literal else ()

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.value is None

    @property
    def flags(self) -> str:
        """The flag, and for a switch the one that turns it off."""
        return f"{self.flag}/--no-{self.flag.removeprefix('--')}" if self.is_switch else self.flag


def setting_forms(settings: type, meanings: Mapping[str, str], prefix: str) -> dict[str, SettingForm]:
    """Read the forms of settings off the fields of a dataclass; return them by name, inherited ones last.

    Args:
        settings: the dataclass.
        meanings: what each of its fields means.
        prefix: of the variables of those that do not name one.
    """
    hints = typing.get_type_hints(settings, include_extras=True)
    fields = sorted(dataclasses.fields(settings), key=lambda field: field.name not in settings.__annotations__)
    return {
        field.name: _form(field.name, hints[field.name], field.default, meanings.get(field.name, ""), prefix)
        for field in fields
    }


def attribute_docstrings(*classes: type) -> dict[str, str]:
    """Docstrings of the attributes that classes define, by the attribute's name."""
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


def _form(name: str, hint: Any, default: Any, meaning: str, prefix: str) -> SettingForm:
    annotation, *extras = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else [hint]
    shown = _extra(extras, Shown())
    limits = _extra(extras, Limits())
    check = next((extra.of for extra in extras if isinstance(extra, Check)), None)
    kind = _kind(annotation)
    return SettingForm(
        name=name,
        kind=kind,
        limits=limits,
        check=check,
        flag=f"--{shown.flag or name.replace('_', '-')}",
        variable=shown.variable or f"{prefix}{name.upper()}",
        default=shown.default or _default(default),
        meaning=meaning,
        value=_value(kind),
        expected=shown.expected or _expected(kind, limits),
        remedy=shown.remedy,
    )


def _extra(extras: list[Any], otherwise: T) -> T:
    """Return what an annotation holds of the kind of `otherwise`; that, where it holds none."""
    return next((extra for extra in extras if isinstance(extra, type(otherwise))), otherwise)


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


def _expected(kind: Any, limits: Limits) -> str:
    if typing.get_origin(kind) is Literal:
        *others, last = typing.get_args(kind)
        return f"{', '.join(others)} or {last}"
    noun = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "some text")
    return " ".join(filter(None, [noun, _range(limits)]))


def _range(limits: Limits) -> str:
    """Say between which numbers a setting must lie; empty where there are no limits."""
    match limits:
        case Limits(None, None, None):
            return ""
        case Limits(None, low, None):
            return f"of at least {low}"
        case Limits(None, low, high):
            return f"from {low} to {high}"
        case Limits(low, _, None):
            return f"above {low}"
    return f"above {limits.above} and at most {limits.at_most}"
