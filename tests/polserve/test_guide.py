"""The guide to the client works as written."""

import re
from pathlib import Path
from typing import Any

import pytest

from polserve import testing

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "client.md"


@pytest.mark.starts_processes
def test_the_examples_of_the_guide_run_in_their_order() -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(examples) == 14
    names: dict[str, Any] = {}
    with testing.service() as target:
        for example in examples:
            exec(compile(example.replace("localhost:50051", target), str(GUIDE), "exec"), names)  # noqa: S102 - our own
        names["client"].close()
    assert (names["answer"].version, names["batch"].action.shape) == ("1", (2,))
