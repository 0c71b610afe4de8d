import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def _operators_read_once() -> Iterator[None]:
    """Let torch read the source of its ONNX operators once: each export would do it anew, and take twice as long."""
    if "torch" not in sys.modules:
        yield
        return
    from torch.onnx._internal import _lazy_import

    library = _lazy_import.onnxscript_apis  # type: ignore[attr-defined]  # a module that is imported when it is used

    @cache
    def operators() -> Any:
        return library.__getattr__("get_torchlib_ops")()

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(library), "get_torchlib_ops", operators)
        yield
