"""An MLflow registry as the source: a child process follows it, and this side only reads what the child says.

The registry client never runs in the process that answers calls: whatever it hangs on, no call waits for it.
"""

import contextlib
import importlib.util
import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from polserve.protos.shared.hosts import no_proxy
from polserve.serving.errors import ConfigurationError
from polserve.serving.logs import Log
from polserve.serving.processes.encoding import Message, decode_each, decode_ref
from polserve.serving.processes.parent import MAX_SILENCE_S, ChildLost, ChildProcess
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.source import HistoryState, PolicyHistory, RegistryStatus
from polserve.serving.versions import ByAlias, DesiredVersions, RolloutResult

RESTART_DELAY_S = 1.0
"""Seconds before a follower that ended is started again; twice as long after each that never reached the registry."""
LONGEST_RESTART_DELAY_S = 30.0
END_TIMEOUT_S = 2.0
"""Seconds for a follower to handle what it was told and end, before it is killed."""
MLFLOW_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""Defaults for the follower: by MLflow's own, one call to a dead registry waits for minutes."""

HISTORY_AGE_S = 10.0
"""Age from which a history is asked for again when somebody looks."""
_NOTHING_RECORDED: Message = {"moves": [], "decisions": [], "rollouts": []}

log = Log()


class RegistrySource:
    """The aliases of an MLflow registry, followed through a child process."""

    def __init__(self, config: FollowerConfig, max_silence_s: float = MAX_SILENCE_S) -> None:
        """Check that the registry can be spoken to at all; nothing is started before `warm_up` or `follow`.

        A follower that gives no sign of life for `max_silence_s` seconds is killed, and another one started.

        Raises:
            ConfigurationError: this installation cannot speak to such a tracking URI.
        """
        _check_uri(config.tracking_uri)
        self._config = config
        self._max_silence_s = max_silence_s
        self._status: RegistryStatus | None = None
        self._desired: DesiredVersions | None = None
        self._closed = threading.Event()
        self._child: ChildProcess | None = None
        self._early: ChildProcess | None = None
        """The child that was started before `follow` began."""
        self._asking = threading.Lock()
        self._histories: dict[str, PolicyHistory] = {}
        self._told_at: dict[str, float] = {}
        """When the history of each policy was told, by the monotonic clock."""
        self._asked: set[str] = set()
        """The policies whose history the child is still reading."""
        self._unkept: dict[tuple[str, str], RolloutResult] = {}
        """Versions that were withdrawn, by policy and number, until a child has said that it keeps that."""
        self._live: ByAlias[str] = {}
        self._told: ChildProcess | None = None
        """The child that was told something, which it is given time to handle."""

    def warm_up(self) -> None:
        """Start the follower, so that it has imported its client when `follow` begins."""
        with contextlib.suppress(OSError):  # then `follow` starts one
            self._child = self._early = self._begin()

    def follow(self) -> Iterator[DesiredVersions]:
        """Yield what the registry's aliases name, downloaded; the last good versions while it cannot be reached."""
        delay_s = RESTART_DELAY_S
        while not self._closed.is_set():
            child = self._child = self._early or self._begin()
            self._early = None
            with self._asking:
                self._asked.clear()  # what the one before was asked
            try:
                yield from self._listen(child)
            finally:
                exit_code = child.finish(END_TIMEOUT_S if self._told is child else 0.0)
            if self._closed.is_set():
                return
            was_up = self._status is None or self._status.is_up
            if was_up:  # else what the child said last tells more
                self._note({"is_up": False, "error": child.how_it_ended()})
            delay_s = RESTART_DELAY_S if was_up else min(2 * delay_s, LONGEST_RESTART_DELAY_S)
            log.error("follower_ended", exit_code=exit_code, again_in_s=delay_s)
            self._closed.wait(delay_s)

    def desired_at_once(self) -> DesiredVersions:
        """Return nothing: the child has to be waited for."""
        return {}

    def registry(self) -> RegistryStatus | None:
        """Return the registry's state as the child last told it."""
        return self._status

    def ignored(self) -> Sequence[str]:
        """Return nothing: what is no policy has no tag, and is none of ours."""
        return ()

    def history(self, policy: str) -> PolicyHistory:
        """Return the history that the child told last, and ask it for the present one where that is old."""
        with self._asking:
            now = time.monotonic()
            child = self._child
            is_old = now - self._told_at.get(policy, -math.inf) > HISTORY_AGE_S
            if is_old and policy not in self._asked and child is not None:
                self._asked.add(policy)  # once: a child that hangs must not be sent more than its pipe holds
                with contextlib.suppress(ChildLost):  # a new one is started, and asked again
                    child.send({"history": policy})
            return self._histories.get(policy, PolicyHistory(HistoryState.ASKED))

    def tell(self, results: Sequence[RolloutResult], live: ByAlias[str]) -> None:
        """Pass on how versions fared, for their tags in the registry, and what is live, for the cache."""
        self._live = live
        for result in results:
            if result.is_final:
                self._unkept[result.policy, result.version] = result
            elif result.refusal is None:
                self._unkept.pop((result.policy, result.version), None)
        if self._child is None:
            return
        try:
            self._send_results(self._child, results)
        except ChildLost:  # a new one is started, and asks again
            log.warning("follower_not_told", results=len(results))

    def close(self) -> None:
        """Stop following, so that the child ends."""
        self._closed.set()
        if self._child is not None:
            self._child.finish(END_TIMEOUT_S if self._told is self._child else 0.0)

    def _begin(self) -> ChildProcess:
        """Start a follower and tell it what to follow; it may not be ready yet."""
        child = _start(self._max_silence_s)
        with contextlib.suppress(ChildLost):  # as whoever listens to it will notice
            child.send(asdict(self._config))
        return child

    def _listen(self, child: ChildProcess) -> Iterator[DesiredVersions]:
        """Yield what the child says is desired, at every change, until it ends."""
        try:
            child.wait_until_ready(timeout_s=None)
            if unkept := list(self._unkept.copy().values()):  # the child before ended too soon
                self._send_results(child, unkept)
            while True:
                message = child.receive()
                if "history" in message:
                    self._note_history(message["history"])
                for policy, version in message.get("kept", ()):
                    self._unkept.pop((policy, version), None)
                if "registry" in message:
                    self._note(message["registry"])
                if "desired" in message and (desired := decode_each(message["desired"], decode_ref)) != self._desired:
                    yield desired
                    self._desired = desired  # only now: one that could not be applied is yielded again
        except ChildLost:
            return

    def _send_results(self, child: ChildProcess, results: Sequence[RolloutResult]) -> None:
        """Tell a child how versions fared, and what is live; raises ChildLost."""
        self._told = child
        child.send({"results": [asdict(result) for result in results], "live": self._live})

    def _note_history(self, told: Message) -> None:
        """Remember a history; where it could not be read, the one before stays, with the reason."""
        policy, problem = told["policy"], told["problem"]
        with self._asking:
            self._asked.discard(policy)
            self._told_at[policy] = time.monotonic()
            before = self._histories.get(policy, PolicyHistory(HistoryState.KNOWN, _NOTHING_RECORDED))
            record = before.record if problem else {key: told[key] for key in _NOTHING_RECORDED}
            self._histories[policy] = PolicyHistory(HistoryState.KNOWN, record, problem)

    def _note(self, registry: Message) -> None:
        """Remember how the registry does, and log it when that changes."""
        last = self._status.last_success if self._status else None
        success = time.time() if registry["is_up"] else last
        status = RegistryStatus(registry["is_up"], success, registry["error"], registry.get("is_asked", True))
        if self._status is None or (status.is_up, status.error) != (self._status.is_up, self._status.error):
            if status.is_up and not status.error:
                log.info(status.event)
            else:
                log.warning(status.event, error=status.error)
        self._status = status


def _start(max_silence_s: float) -> ChildProcess:
    """Start a follower, which is not configured yet."""
    environment = {**MLFLOW_LIMITS, **os.environ, "no_proxy": no_proxy(os.environ)}
    return ChildProcess(
        "follower", "polserve.serving.sources.follower_process", environment=environment, max_silence_s=max_silence_s
    )


def _check_uri(uri: str) -> None:
    """Raise ConfigurationError where this installation cannot speak to a tracking URI."""
    scheme = uri.split(":", 1)[0].split("+", 1)[0]
    is_full = all(importlib.util.find_spec(name) is not None for name in ("sqlalchemy", "alembic"))
    if scheme not in ("http", "https") and not is_full:
        raise ConfigurationError(
            f"MLFLOW_TRACKING_URI: {scheme}: needs the full mlflow package, and only mlflow-skinny is installed, which "
            f"speaks HTTP; run `mlflow server --backend-store-uri ...` with that URI where mlflow is installed and set "
            "MLFLOW_TRACKING_URI to its http:// address"
        )
