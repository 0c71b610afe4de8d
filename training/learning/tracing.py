"""Networks that run in one thread while another thread traces a module."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Condition
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class TracingGuard:
    """Lets any number of threads run networks at once, and lets one thread trace while none of them does.

    While torch traces a module it changes classes and flags that all threads share, such as `nn.Module.__call__` and
    `torch.compiler.is_exporting()`: an optimiser's step in another thread would then fail, or be traced too.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._running = 0
        self._tracing = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run networks inside; waits while a thread traces. A thread must not enter it twice."""
        with self._changed:
            self._changed.wait_for(lambda: not self._tracing)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Trace a module inside; waits for the networks that run, and lets no others begin."""
        with self._changed:
            self._changed.wait_for(lambda: not self._tracing)
            self._tracing += 1
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._running)
            yield
        finally:
            with self._changed:
                self._tracing -= 1
                self._changed.notify_all()

    def beside(self, run: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
        """Return a function that does what `run` does, inside `running`."""

        @wraps(run)
        def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
            with self.running():
                return run(*args, **kwargs)

        return guarded


GUARD = TracingGuard()
"""Guard of all threads of this process: torch's state is the process's."""
