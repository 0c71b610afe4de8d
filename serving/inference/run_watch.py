"""Watches runs of the models: one that takes far more time or memory than its version should is ended.

ONNX Runtime ends a run between two operators. Where a single operator goes on for too long, only the end of the process
helps, and that is left to whoever owns it.
"""

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from polserve.serving.errors import Expired, RanAway, is_out_of_memory
from polserve.serving.inference.run_marks import RunMark
from polserve.serving.logs import Log
from polserve.serving.policy import Answer, Policy
from polserve.serving.versions import Runaway

MIB = 2**20
TICK_S = 0.25
"""Seconds between two looks."""
PACE_FACTOR = 20.0
"""A run may take so many times as long as the pace of its version says, and the limit beside that."""
GRACE_TICKS = 8
"""Looks after which a run that was told to end counts as hanging."""
_STATM = Path("/proc/self/statm")

log = Log()


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What one run of a model may take."""

    seconds: float = 5.0
    memory_mib: int = 2048


@dataclass(slots=True, eq=False)
class Run:
    """A run of a model that goes on now."""

    policy: Policy
    n: int
    """Observations in it."""
    n_ticks: int = 0
    """Looks at which it was going on. NOTE: not seconds by the clock, which goes on where this process was stopped."""
    problem: str | None = None
    """Why it was told to end."""
    n_ticks_since: int = 0
    """Looks since it was told to end."""


class RunSlot:
    """The place of one thread that runs models, one run at a time."""

    def __init__(self, watch: "RunWatch", mark: RunMark | None) -> None:
        self._watch = watch
        self._mark = mark
        self.run: Run | None = None
        """What the thread runs now."""

    def act(
        self,
        policy: Policy,
        observations: NDArray[Any],
        *,
        with_values: bool,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """Answer observations as `Policy.act` does, under watch.

        Raises:
            RanAway: it took too much time or memory.
            Expired: nobody wanted the answer any more.
        """
        run = self.run = Run(policy, len(observations))
        mark = self._mark
        if mark is not None:
            mark.set(policy)
        try:
            return policy.act(observations, with_values=with_values, is_wanted=is_wanted)
        except Expired:
            raise
        except Exception as error:
            if run.problem is None and is_out_of_memory(error):
                run.problem = f"a run of {run.n} observations asked for more memory than there is"
                self._watch.note(run)
            if run.problem is None:
                raise
            raise RanAway(policy.name, policy.version, run.problem) from error
        finally:
            self.run = None
            if mark is not None:
                mark.clear()
            if run.problem is not None:
                policy.resume()


class RunWatch:
    """Looks at the runs of a process again and again, once it is started."""

    def __init__(self, limits: RunLimits | None = None, marks: Iterable[RunMark] = ()) -> None:
        """With `marks`, each slot takes one of them, as far as they go."""
        self._marks = iter(marks)
        self._limits = limits or RunLimits()
        self._slots: list[RunSlot] = []
        self._ended = threading.Event()
        self._resident_before = 0
        """Bytes of memory that this process had when no run was going on for long."""
        self.report: Callable[[Runaway], None] = lambda _runaway: None
        """Called with each run that was told to end, by the thread that looks or that ran it."""
        self.give_up: Callable[[], None] = lambda: None
        """Called once with a run that does not end: only the end of the process helps."""

    def slot(self) -> RunSlot:
        """Make a place for another thread that runs models."""
        slot = RunSlot(self, next(self._marks, None))
        self._slots.append(slot)
        return slot

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._look_on, name="run-watch", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def note(self, run: Run) -> None:
        """Log a run that went wrong, and report it."""
        policy = run.policy
        log.error("run_ran_away", policy=policy.name, version=policy.version, reason=run.problem)
        self.report(Runaway(policy.name, policy.version, policy.sha256, run.problem or ""))

    def look(self) -> None:
        """Look once at all that runs, and end what takes too much."""
        resident = _resident_bytes()
        runs = [(slot, run) for slot in self._slots if (run := slot.run) is not None]
        if not any(run.n_ticks for _, run in runs):
            self._resident_before = resident
        for slot, run in runs:
            run.n_ticks += 1
            if run.problem is not None:
                self._look_after(run)
                continue
            run.problem = self._problem(run, (resident - self._resident_before) // MIB)
            if run.problem is None:
                continue
            self.note(run)  # before it ends: whoever waited for it finds it reported
            run.policy.stop()
            if slot.run is not run:  # it has ended meanwhile, and the next one must not
                run.policy.resume()

    def _problem(self, run: Run, growth_mib: int) -> str | None:
        """Say what is wrong with a run; None while nothing is."""
        limit_s = self._limits.seconds + PACE_FACTOR * run.policy.pace.seconds(run.n)
        if (run.n_ticks - 1) * TICK_S >= limit_s:
            return f"a run of {run.n} observations took longer than {limit_s:.3g} s"
        if growth_mib > self._limits.memory_mib:
            return f"a run of {run.n} observations took more than {self._limits.memory_mib:,} MiB of memory"
        return None

    def _look_after(self, run: Run) -> None:
        """Give up on a run that was told to end and goes on."""
        run.n_ticks_since += 1
        if run.n_ticks_since == GRACE_TICKS:
            log.error("run_hangs", policy=run.policy.name, version=run.policy.version, reason=run.problem)
            self.give_up()

    def _look_on(self) -> None:
        while not self._ended.wait(TICK_S):
            try:
                self.look()
            except Exception:
                log.exception("run_watch_failed")


def _resident_bytes() -> int:
    """Bytes of memory that this process has now; 0 where the system does not say."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux: then only time is watched
        return 0
