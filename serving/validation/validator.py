"""The service's side of the process that validates versions."""

import contextlib
import signal
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future

from polserve.serving.errors import RolloutRefused
from polserve.serving.logs import Log
from polserve.serving.processes.encoding import Message, decode_accepted, encode_ref
from polserve.serving.processes.parent import ChildLost, ChildProcess, ChildRefused, ChildSilent
from polserve.serving.settings.settings import Settings
from polserve.serving.validation.confinement import CPU_S
from polserve.serving.versions import AcceptedVersion, VersionRef

TRIES = 2
"""Processes that may end while they validate a version: one may have ended for another reason."""
TIMEOUT_S = 120.0
"""Seconds for one version."""
CAUSES = {
    -signal.SIGKILL: "as the kernel does where memory runs out; give it more memory, or make the network smaller",
    -signal.SIGXCPU: f"as it took more than {CPU_S} s of processor time; make the network smaller",
}
"""What probably ended a process, and what to do, by exit code."""

log = Log()


class Validator:
    """Validates versions in a process of its own, which is started when there is one to validate."""

    def __init__(self, settings: Settings) -> None:
        self._config = {
            "batching": settings.batching,
            "memory_mib": settings.validator_memory_mib,
            "limits": {
                "allow_space_change": settings.allow_space_change,
                "latency_budget_s": settings.latency_budget / 1000,
                "max_slowdown": settings.max_slowdown,
            },
        }
        self._max_silence_s = settings.max_silence
        self._child: ChildProcess | None = None
        self._ready: ChildProcess | None = None
        """The child that is known to be ready."""
        self._starting = threading.Lock()
        self._lock = threading.Lock()
        """Guards the child, and is held for a moment only: who closes does not wait for a start."""
        self._is_closed = False
        self._asking = threading.Lock()
        """Held while a version is validated: where it ends the process, no other one has to do with that."""
        self._begun: dict[VersionRef, Future[AcceptedVersion]] = {}
        """Validations that were begun before they were asked for."""

    def begin(self, refs: Iterable[VersionRef]) -> None:
        """Validate versions from now on, one after another, beside no live one; `validate` then waits for its own."""
        self._begun = {ref: Future() for ref in refs}
        threading.Thread(target=self._do_begun, args=(dict(self._begun),), name="validation", daemon=True).start()

    def _do_begun(self, begun: Mapping[VersionRef, Future[AcceptedVersion]]) -> None:
        for ref, future in begun.items():
            try:
                future.set_result(self._validate(ref, None))
            except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
                future.set_exception(error)

    def validate(self, ref: VersionRef, live: VersionRef | None) -> AcceptedVersion:
        """Check that a version is the policy that was trained and may take the place of `live`, and time it.

        Raises:
            RolloutRefused: it is not, or may not.
            ChildLost: the validator was closed meanwhile, so that nothing is known.
        """
        begun = None if live else self._begun.pop(ref, None)
        return self._validate(ref, live) if begun is None else begun.result()

    def _validate(self, ref: VersionRef, live: VersionRef | None) -> AcceptedVersion:
        with self._asking:
            return self._ask_again(ref, live)

    def _ask_again(self, ref: VersionRef, live: VersionRef | None) -> AcceptedVersion:
        """Have a version validated, by another process where the first one ends; raises as `validate` does."""
        request = {"ref": encode_ref(ref), "live": encode_ref(live) if live else None}
        problem = ""
        for _ in range(TRIES):
            try:
                return self._ask(request)
            except ChildLost as error:
                if self._is_closed:
                    raise
                problem = _how_it_was_lost(error)
                log.warning("validator_lost", policy=ref.policy, version=ref.version, error=problem)
        raise RolloutRefused(f"{TRIES} processes ended while they validated the version: {problem}")

    def _ask(self, request: Message) -> AcceptedVersion:
        """Have a version validated; raises RolloutRefused, or ChildLost where another process may do better."""
        child = self._running()
        try:
            return decode_accepted(child.ask(request, TIMEOUT_S))
        except ChildRefused as refusal:
            raise RolloutRefused(str(refusal)) from refusal
        except ChildLost as error:  # what took too long once would again
            if not self._is_closed and (isinstance(error, ChildSilent) or error.exit_code == -signal.SIGXCPU):
                raise RolloutRefused(f"the version took too long to validate: {_how_it_was_lost(error)}") from error
            raise

    def warm_up(self) -> None:
        """Start the process, so that the first version does not wait for all that it imports."""
        with contextlib.suppress(ChildLost, OSError):  # it is started again when there is something to validate
            self._started()

    def close(self) -> None:
        """End the process; a validation under way is given up."""
        with self._lock:
            self._is_closed = True
            if self._child is not None:
                self._child.kill()

    def _running(self) -> ChildProcess:
        """Return the process, ready for work; start one where there is none."""
        with self._starting:
            child = self._started()
            if child is not self._ready:
                child.wait_until_ready()
                self._ready = child
            return child

    def _started(self) -> ChildProcess:
        """Return the process, which may not be ready yet; start one where there is none."""
        with self._lock:
            if self._is_closed:
                raise ChildLost("the service ends")
            if self._child is None or not self._child.is_alive:
                self._child = ChildProcess(
                    "validator",
                    "polserve.serving.validation.validator_process",
                    max_silence_s=self._max_silence_s,
                )
                self._child.send(self._config)
            return self._child


def _how_it_was_lost(error: ChildLost) -> str:
    """Say how a process ended, and what probably ended it."""
    cause = CAUSES.get(error.exit_code or 0)
    return f"{error}, {cause}" if cause else str(error)
