"""This side of the process that tries versions."""

import contextlib
import threading

import structlog

from polserve.serving.children.messages import ref_message
from polserve.serving.children.process import ChildLost, ChildProcess
from polserve.serving.settings import Settings
from polserve.serving.sources.source import Trial, VersionRef

TRIES = 2
"""Processes that may end while they try a version: one may have ended for another reason."""
TIMEOUT_S = 120.0
"""For one version."""

log = structlog.get_logger()


class Prover:
    """Tries versions in a process of its own, which is started when there is something to try."""

    def __init__(self, settings: Settings) -> None:
        self._config = {
            "batching": settings.batching,
            "gate": {
                "allow_space_change": settings.allow_space_change,
                "latency_budget_s": settings.latency_budget / 1000,
                "max_slowdown": settings.max_slowdown,
            },
        }
        self._child: ChildProcess | None = None
        self._starting = threading.Lock()
        self._lock = threading.Lock()
        """Of the child, and held for a moment only: who closes does not wait for a start."""
        self._is_closed = False

    def prove(self, ref: VersionRef, live: VersionRef | None) -> Trial:
        """Whether the version is the policy that was trained and may take the place of `live`; or why not.

        Raises:
            ChildLost: the prover was closed meanwhile, so that nothing is known.
        """
        message = {"ref": ref_message(ref), "live": ref_message(live) if live else None}
        problem = ""
        for _ in range(TRIES):
            try:
                return Trial(**self._running().ask(message, TIMEOUT_S))
            except ChildLost as error:
                if self._is_closed:
                    raise
                problem = str(error)
                log.warning("prover_lost", policy=ref.policy, version=ref.version, error=problem)
        return Trial(f"{TRIES} processes ended while they tried the version: {problem}")

    def warm_up(self) -> None:
        """The process is being started; what it is to try first will not wait for that."""

        def start() -> None:
            with contextlib.suppress(ChildLost):  # it is started again when there is something to try
                self._running()

        threading.Thread(target=start, name="prover", daemon=True).start()

    def close(self) -> None:
        """The process has ended."""
        with self._lock:
            self._is_closed = True
            if self._child is not None:
                self._child.kill()

    def _running(self) -> ChildProcess:
        """The process, ready for work."""
        with self._starting:
            with self._lock:
                if self._is_closed:
                    raise ChildLost("the service ends")
                if self._child is not None and self._child.is_alive:
                    return self._child
                child = self._child = ChildProcess("prover", "polserve.serving.validation.child")
            child.configure(self._config)
            return child
