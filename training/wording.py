"""Errors of functions in the words of Python, where the code beneath speaks of the options of commands."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from polserve.training.errors import TrainingError

_IS_COMMAND: ContextVar[bool] = ContextVar("is_command", default=False)
"""Whether a command calls, whose user knows options and no arguments."""
QUOTED = (
    (r"`polserve promote ([\w./-]+) --force --reason \.\.\.`", r'polserve.promote("\1", force_reason="...")'),
    (r"`polserve rollback (\S+) --to (\w+)`", r'polserve.rollback("\1", to="\2")'),
    (r"`polserve promote (\S+)`", r'polserve.promote("\1")'),
)
"""Commands in backticks that have functions, and these; others stay as they are, such as `polserve train --list`."""
ALONE = r"(?<!they run with )(?<![\w/.-])"
"""Before an option, but for one of `polserve serve`, which is none of the caller's, and for a part of a path."""
CALLS = (
    (r"polserve promote ([\w./-]+) --force --reason \.\.\.", r'polserve.promote("\1", force_reason="...")'),
    (ALONE + r"--force --reason(?![\w-])", 'force_reason="..."'),
    (ALONE + r"--(algo|rule) ([\w-]+)", r'\1="\2"'),
)
"""Commands and options with their values, and what they are in Python."""
SETTING = re.compile(ALONE + r"--set (\w+)=([^\s;,)]+(?:,[^\s;,)]+)*)")
OPTION = re.compile(ALONE + r"--([a-z]+(?:-[a-z]+)*)(?![\w/-])")
SAME = (
    *("algo", "algorithm", "curves", "data", "device", "env", "env-kwargs", "episodes"),
    *("init-from", "lift", "margin", "margin-return", "max-steps", "module", "name", "processes", "rule"),
    *("seed", "steps", "target-marginal", "target-roas", "tensorboard", "threads"),
)
"""Options whose arguments have the same names, with underscores."""
ARGUMENTS = {
    **{option: option.replace("-", "_") for option in SAME},
    "set": "options",
    "run-dir": "folder",
    "resume": "resume=True",
    "allow-refused": "allow_refused=True",
    "allow-space-change": "allow_space_change=True",
}
"""Options and their arguments; any other word after two hyphens is text of somebody else's."""


@contextmanager
def by_a_command() -> Iterator[None]:
    """Leave the errors of functions that the block calls in the words of commands."""
    token = _IS_COMMAND.set(True)
    try:
        yield
    finally:
        _IS_COMMAND.reset(token)


def is_command() -> bool:
    """Whether a command calls."""
    return _IS_COMMAND.get()


@contextmanager
def naming_arguments(**renamed: str) -> Iterator[None]:
    """Let errors of a block name arguments where they name options; `renamed` has those that are called otherwise."""
    try:
        yield
    except TrainingError as error:
        if not _IS_COMMAND.get():
            error.args = (as_arguments(str(error), renamed), *error.args[1:])
        raise


def as_arguments(text: str, renamed: Mapping[str, str] | None = None) -> str:
    """Write commands and their options in a text as functions and their arguments."""
    names = {**ARGUMENTS, **(renamed or {})}
    parts = re.split(r"(`[^`]*`)", text)  # every second one stands in backticks
    parts[0::2] = [_plain(part, names) for part in parts[0::2]]
    parts[1::2] = [_replaced(part, QUOTED) for part in parts[1::2]]
    return "".join(parts)


def _plain(text: str, names: Mapping[str, str]) -> str:
    """Write a text that has no backticks in the words of Python."""
    text = _replaced(text, CALLS)
    text = SETTING.sub(lambda setting: f'options={{"{setting[1]}": {_value(setting[2])}}}', text)
    return OPTION.sub(lambda option: names.get(option[1], option[0]), text)


def _replaced(text: str, calls: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in calls:
        text = re.sub(pattern, replacement, text)
    return text


def _value(text: str) -> str:
    """Write the value of a setting as Python does; several, which commas part, as a list."""
    return f"[{text.replace(',', ', ')}]" if "," in text else text
