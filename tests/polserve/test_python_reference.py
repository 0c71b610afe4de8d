"""The reference of what `polserve` exports is what the docstrings say."""

import subprocess
import sys

from tests.support.running import ROOT


def test_the_reference_is_made_from_the_docstrings() -> None:
    page = ROOT / "docs" / "python.md"
    before = page.read_text()
    try:
        subprocess.run([sys.executable, str(ROOT / "docs" / "python_reference.py")], check=True, cwd=ROOT)
        assert page.read_text() == before, "run `python docs/python_reference.py`"
    finally:
        page.write_text(before)
