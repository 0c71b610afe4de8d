"""What users write for a setting, as the value that the service works with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polserve.protos.shared.paths import expanded
from polserve.serving.settings.forms import Limits, SettingForm

_SWITCHES = {
    **dict.fromkeys(("true", "on", "yes", "t", "y", "1"), True),
    **dict.fromkeys(("false", "off", "no", "f", "n", "0"), False),
}
"""How a switch is written, in any case of the letters."""


def read_value(form: SettingForm, given: object) -> Any:
    """Return the value of a setting: from text, as flags and variables hold it, or from what a program gave.

    Raises:
        ValueError: it is not what the setting must be.
    """
    if isinstance(given, str) and not given.strip():
        raise ValueError("blank")  # a slip, such as a shell variable that is not set
    value = _READERS.get(form.kind, _choice)(form, given)
    _check_limits(form.limits, value)
    return value if form.check is None else form.check(value)


def _check_limits(limits: Limits, value: Any) -> None:
    """Raise ValueError where a number is not within the limits; NaN is within none."""
    is_within = (
        (limits.above is None or value > limits.above)
        and (limits.at_least is None or value >= limits.at_least)
        and (limits.at_most is None or value <= limits.at_most)
    )
    if not is_within:
        raise ValueError("out of range")


def find_variable(form: SettingForm, environment: Mapping[str, str]) -> str | None:
    """Return the name under which the environment holds a setting, in any case of the letters; None where it does not.

    An empty variable is none.
    """
    if environment.get(form.variable):
        return form.variable
    return next((name for name, text in environment.items() if text and name.upper() == form.variable), None)


def written(form: SettingForm, given: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Return what the user wrote to set a setting: its flag, else its variable; its flag where nobody set it."""
    if given.get(form.name) is not None:
        return form.flag
    return find_variable(form, environment) or form.flag


def _switch(_form: SettingForm, given: object) -> bool:
    word = str(given).strip().lower()
    if word not in _SWITCHES:
        raise ValueError("neither on nor off")
    return _SWITCHES[word]


def _whole_number(_form: SettingForm, given: object) -> int:
    """Read a whole number; 1e+06 is one, since tools that fill in templates write large numbers so."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    text = str(given)
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _number(_form: SettingForm, given: object) -> float:
    return float(str(given))


def _text(_form: SettingForm, given: object) -> str:
    return str(given)


def _path(_form: SettingForm, given: object) -> Path:
    return Path(expanded(str(given)))


def _names(_form: SettingForm, given: object) -> tuple[str, ...]:
    """Read names, which commas separate in a text and in each of several; an alias may be written with its @."""
    parts = given if isinstance(given, (list, tuple)) else [given]
    names = [name.strip().removeprefix("@") for part in parts for name in str(part).split(",")]
    if names and not any(names):  # such as "," or "@"
        raise ValueError("no name")
    return tuple(name for name in names if name)


def _choice(form: SettingForm, given: object) -> str:
    if given not in form.choices:
        raise ValueError("no such choice")
    return str(given)


_READERS: Mapping[Any, Callable[[SettingForm, object], Any]] = {
    bool: _switch,
    int: _whole_number,
    float: _number,
    str: _text,
    Path: _path,
    tuple: _names,
}
