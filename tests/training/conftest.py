import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from polserve.training.environments.making import EnvironmentSpec
from tests.support.one import OnlyOne
from tests.support.strangers import registered


@pytest.fixture
def only_one() -> Iterator[EnvironmentSpec]:
    """An environment of which one may exist at a time, and of which none exists yet."""
    OnlyOne.forget()
    with registered(OnlyOne, max_episode_steps=None) as spec:
        yield spec


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
