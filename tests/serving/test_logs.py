"""The lines of the log, as a program reads them back."""

import re
import shlex
import subprocess
import sys

import pytest

from polserve.serving.logs import Log


def fields_of(line: str) -> dict[str, str]:
    """Fields of a line in logfmt, as a shell would cut it."""
    return dict(word.split("=", 1) for word in shlex.split(line))


@pytest.mark.parametrize("value", ["", "plain", "two words", 'a "quoted" one', "a=b", r"C:\a folder", "über", "-"])
def test_a_field_is_read_back_as_it_was_written(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    Log().warning("seen", what=value, after=1)
    fields = fields_of(capsys.readouterr().err)
    assert (fields["level"], fields["event"], fields["what"], fields["after"]) == ("warning", "seen", value, "1")


@pytest.mark.parametrize("value", ["two\nlines", "\x1b[2J", "back\rto the start", "\u2028"])
def test_what_a_stranger_sends_neither_begins_a_line_nor_controls_a_terminal(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Log().info("seen", what=value)
    line = capsys.readouterr().err
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_booleans_and_nothing_are_written_as_other_programs_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    Log().info("seen", yes=True, no=False, nothing=None)
    assert capsys.readouterr().err.endswith("event=seen yes=true no=false nothing=\n")


def test_an_exception_is_on_the_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        int("seven")
    except ValueError:
        Log().exception("failed", policy="cartpole")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"timestamp=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z level=error event=failed policy=cartpole ", line)
    assert "ValueError: invalid literal for int() with base 10: 'seven'" in fields_of(line)["exception"]


def test_a_log_that_cannot_be_written_ends_nothing_and_says_so_later() -> None:
    code = (
        "import os; from polserve.serving.logs import Log; kept, full = os.dup(2), os.open('/dev/full', os.O_WRONLY)\n"
        "os.dup2(full, 2); Log().info('first'); Log().info('second')\n"
        "os.dup2(kept, 2); Log().info('third')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith(" event=third late_or_lost=2\n")


def test_a_process_can_have_fields_that_all_of_its_events_have() -> None:
    code = "from polserve.serving.logs import Log, log_always; log_always(worker=1); Log().info('seen', n=2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith(" event=seen n=2 worker=1\n")
