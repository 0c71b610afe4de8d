"""Work on large messages, which a thread of its own does: on the connections' it would hold up all of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from polserve.serving.http.strict_json import LARGE_JSON_BYTES

R = TypeVar("R")


class Aside:
    """Has functions called here and now, or in a thread where what they work on is large."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-http")

    async def run(self, n_bytes: int, function: Callable[[], R]) -> R:
        """Return what a function returns that works on so many bytes."""
        if n_bytes < LARGE_JSON_BYTES:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
