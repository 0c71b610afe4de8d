"""The `polserve` program in this process, which has imported already what its commands need."""

import contextlib
import io
import os
import sys
from subprocess import CompletedProcess

import pytest

from polserve.__main__ import main
from tests.support.running import environment


def polserve_here(*arguments: str, **changes: str) -> CompletedProcess[str]:
    """A command, run to its end with `changes` to the environment: as `running.polserve`, but in this process."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment().keys():
            patch.delenv(name)
        for name, value in {"COLUMNS": "200", **changes}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["polserve", *arguments])
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                main()
            except SystemExit as end:
                code = _exit_code(end, errors)
    return CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())


def _exit_code(end: SystemExit, errors: io.StringIO) -> int:
    """The exit code of a program that ends so; a text goes to standard error, as Python does."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    errors.write(f"{end.code}\n")
    return 1
