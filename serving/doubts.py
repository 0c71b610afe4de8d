"""What takes a version out of service that was live: runs that had to be ended, and keys that are trusted no longer."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from polserve.serving.errors import RolloutRefused
from polserve.serving.logs import Log
from polserve.serving.rollout import Rollout, Validate
from polserve.serving.settings.settings import Settings
from polserve.serving.trust import Trust
from polserve.serving.versions import AcceptedVersion, RolloutResult, Runaway, VersionRef, every

log = Log()


class Doubts:
    """Knows who may sign versions, and which live ones ran away."""

    def __init__(self, settings: Settings, validate: Validate, count: Callable[[str, str], None]) -> None:
        """Read the trusted keys; `count` is called with the policy and the version of each run that was ended.

        Raises:
            ConfigurationError: they cannot be used.
        """
        self._proved = validate
        self._count = count
        self._max_runaways = settings.max_runaways
        self._trust = None if settings.trusted_keys is None else Trust(settings.trusted_keys)
        self._runaways = Counter[tuple[str, str, str]]()
        """Runs that were ended, by policy, version and checksum."""
        self._lock = threading.Lock()
        self._rollout: Rollout | None = None
        self._tell: Callable[[Sequence[RolloutResult]], None] = lambda _results: None

    def start(self, rollout: Rollout, tell: Callable[[Sequence[RolloutResult]], None]) -> None:
        """Begin to withdraw versions from `rollout`; `tell` is called with what became of them."""
        self._rollout, self._tell = rollout, tell
        if self._trust is not None:
            self._trust.on_change = self._trust_anew
            self._trust.start()

    @property
    def stale(self) -> dict[str, bool]:
        """Whether the trusted keys cannot be used as they were changed; nothing where anybody may sign."""
        return {} if self._trust is None else {"trusted-keys": self._trust.is_stale}

    def close(self) -> None:
        """Look at the keys no more."""
        if self._trust is not None:
            self._trust.close()

    def validate(self, ref: VersionRef, live: VersionRef | None) -> AcceptedVersion:
        """Check who signed a version, where only some may, and then what it does; raises RolloutRefused."""
        if self._trust is not None:
            self._trust.check(ref)
        return self._proved(ref, live)

    def note_runaway(self, runaway: Runaway) -> None:
        """Count a run that was ended; withdraw its version where that happens too often. Returns at once."""
        self._count(runaway.policy, runaway.version)
        key = (runaway.policy, runaway.version, runaway.sha256)
        with self._lock:  # several workers tell at the same time
            self._runaways[key] += 1
            is_enough = self._runaways[key] == self._max_runaways
        if is_enough:
            threading.Thread(target=self._withdraw, args=(runaway,), name="withdrawal", daemon=True).start()

    def _withdraw(self, runaway: Runaway) -> None:
        """Take a version out of service whose runs had to be ended; the last good one answers again."""
        reason = f"after {self._max_runaways} runs that had to be ended: {runaway.reason}"
        try:
            if self._rollout is None:
                return
            result = self._rollout.withdraw(runaway.policy, runaway.version, runaway.sha256, reason)
            if result is not None:
                self._tell([result, *self._distrust_all(self._rollout)])
        except Exception:
            log.exception("not_withdrawn", policy=runaway.policy, version=runaway.version)
        finally:
            del self._runaways[
                runaway.policy, runaway.version, runaway.sha256
            ]  # it may be tried again, and counts anew

    def _trust_anew(self) -> None:
        """Try refused versions again, and withdraw live ones that nobody who is trusted has signed any more."""
        if self._rollout is not None:
            self._tell([*self._rollout.apply_again(), *self._distrust_all(self._rollout)])

    def _distrust_all(self, rollout: Rollout) -> list[RolloutResult]:
        """Withdraw live versions that nobody who is trusted has signed, and those before that take their place."""
        results: list[RolloutResult] = []
        while gone := [result for one in set(every(rollout.live)) if (result := self._distrust(rollout, one.ref))]:
            results += gone
        return results

    def _distrust(self, rollout: Rollout, ref: VersionRef) -> RolloutResult | None:
        """Withdraw a live version where nobody who is trusted has signed it."""
        try:
            if self._trust is not None:
                self._trust.check(ref)
        except RolloutRefused as refusal:
            return rollout.withdraw(ref.policy, ref.version, ref.sha256, str(refusal), is_final=False)
        return None
