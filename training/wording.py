"""Errors of functions in the words of Python, where the code beneath speaks of the options of commands."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from polserve.training.errors import TrainingError

_IS_COMMAND: ContextVar[bool] = ContextVar("is_command", default=False)
"""Whether a command calls, whose user knows options and no arguments."""
OF_SERVICES = "(?<!they run with )"
"""Not before an option of `polserve serve`, which is none of the caller's."""
CALLS = (
    (r"`?polserve promote ([\w./-]+) --force --reason \.\.\.`?", r'polserve.promote("\1", force_reason="...")'),
    (r"`polserve rollback (\S+) --to (\w+)`", r'polserve.rollback("\1", to="\2")'),
    (r"`polserve promote (\S+)`", r'polserve.promote("\1")'),
    (r"--force --reason", 'force_reason="..."'),
    (r"--set (\w+)=([^\s;,)]+)", r'options={"\1": \2}'),
    (r"--(algo|rule) ([\w-]+)", r'\1="\2"'),
)
"""Commands and options with their values, and what they are in Python."""
ARGUMENTS = {
    "run-dir": "folder",
    "resume": "resume=True",
    "allow-refused": "allow_refused=True",
    "allow-space-change": "allow_space_change=True",
}
"""Options whose arguments have other names, or are best told with their value."""


@contextmanager
def by_a_command() -> Iterator[None]:
    """Leave the errors of functions that the block calls in the words of commands."""
    token = _IS_COMMAND.set(True)
    try:
        yield
    finally:
        _IS_COMMAND.reset(token)


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
    for pattern, replacement in CALLS:
        text = re.sub(pattern, replacement, text)
    names = {**ARGUMENTS, **(renamed or {})}
    return re.sub(
        OF_SERVICES + r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)",
        lambda option: names.get(option[1], option[1].replace("-", "_")),
        text,
    )
