"""The flags of `polserve serve`, read without the library that parses those of all commands."""

from collections.abc import Mapping, Sequence
from typing import Any

from polserve.serving.settings.forms import SettingForm
from polserve.serving.settings.settings import FORMS


def read_flags(arguments: Sequence[str]) -> Mapping[str, Any] | None:
    """Return what the flags give, as `load_settings` takes it; None where typer must read them.

    That is whatever is not plainly a flag of ours with its value: --help, and every mistake, which typer words. typer
    builds a validator with pydantic for each option, and importing both takes as long as all that the service needs
    of numpy, ONNX Runtime and protobuf.
    """
    given: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, text = argument.partition("=")
        form, is_on = _FLAGS.get(flag, (None, True))
        if form is None or (form.is_switch and equals):
            return None
        if form.is_switch:
            given[form.name] = is_on
            continue
        value = text if equals else next(rest, None)
        if value is None or (not equals and value.startswith("-") and value in _FLAGS):
            return None
        if form.is_repeatable:
            given.setdefault(form.name, []).append(value)
        else:
            given[form.name] = value
    return given


def _by_flag() -> dict[str, tuple[SettingForm, bool]]:
    """Forms by their flags, with what the flag says where it is a switch."""
    flags: dict[str, tuple[SettingForm, bool]] = {}
    for form in FORMS.values():
        for flag, is_on in zip(form.flags.split("/"), (True, False), strict=False):
            flags[flag] = (form, is_on)
    return flags


_FLAGS = _by_flag()
