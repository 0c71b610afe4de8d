"""The table of settings in the docs, written by `python -m polserve.serving.commands.settings_table FILE`."""

import re
import sys
from pathlib import Path

from polserve.serving.settings.forms import SettingForm
from polserve.serving.settings.settings import FORMS

HEAD = "| flag | variable | default | meaning |\n|---|---|---|---|\n"
"""The first two lines of the table, by which it is found in a page."""


def settings_table() -> str:
    """Write the table of all settings in Markdown."""
    return HEAD + "".join(map(_row, FORMS.values()))


def with_table(page: str) -> str:
    """Return the text of a page with its table of settings up to date; unchanged where it holds none."""
    table = settings_table().replace("\\", r"\\")
    return re.sub(rf"^{re.escape(HEAD)}(\|.*\n)*", table, page, flags=re.MULTILINE)


def _row(form: SettingForm) -> str:
    flags = ", ".join(f"`{flag}`" for flag in form.flags.split("/"))
    repeated = ", repeatable" if form.is_repeatable else ""
    return f"| {flags}{repeated} | `{form.variable}` | {form.default} | {form.meaning} |\n"


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(with_table(path.read_text()))
