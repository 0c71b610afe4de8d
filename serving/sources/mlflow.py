"""An MLflow registry as the source: a child process follows it, this side only reads what the child says.

The registry client never runs in the process that answers calls: whatever it hangs on, no call waits for it.
The two speak JSON lines: the child tells what is desired and how the registry does, and is told what went live.
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from polserve.protos.shared.hosts import no_proxy
from polserve.serving.errors import ConfigurationError
from polserve.serving.sources.source import Desired, RegistryStatus, Verdict, VersionRef

Message: TypeAlias = dict[str, Any]

RESTART_DELAY_S = 1.0
"""Before a follower that ended is started again; twice as long after each that never reached the registry."""
LONGEST_RESTART_DELAY_S = 30.0
END_TIMEOUT_S = 2.0
"""For a follower to handle what it was told and end, before it is killed."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FollowerConfig:
    """What the child process is told at its start."""

    tracking_uri: str
    policies: tuple[str, ...]
    """Registered models to follow; empty for every one with the tag polserve.policy."""
    aliases: tuple[str, ...]
    poll_interval_s: float
    cache_dir: str
    max_artifact_bytes: int
    service: str


class MlflowSource:
    """Follows the aliases of an MLflow registry through a child process."""

    def __init__(self, config: FollowerConfig) -> None:
        """Check that the registry can be spoken to at all; nothing is started yet.

        Raises:
            ConfigurationError: this installation cannot speak to such a tracking URI.
        """
        _check_uri(config.tracking_uri)
        self._config = config
        self._status: RegistryStatus | None = None
        self._desired: Desired | None = None
        self._closed = threading.Event()
        self._child: subprocess.Popen[str] | None = None

    def follow(self) -> Iterator[Desired]:
        """What the registry's aliases name, downloaded; the last good versions while it cannot be reached."""
        delay_s = RESTART_DELAY_S
        while not self._closed.is_set():
            child = self._child = _start(self._config)
            try:
                yield from self._listen(child)
            finally:
                _end(child)
            if self._closed.is_set():
                return
            was_up = self._status is None or self._status.is_up
            if was_up:  # else what the child said last tells more
                self._note({"is_up": False, "error": f"the registry follower ended with exit code {child.returncode}"})
            delay_s = RESTART_DELAY_S if was_up else min(2 * delay_s, LONGEST_RESTART_DELAY_S)
            log.error("follower_ended", exit_code=child.returncode, again_in_s=delay_s)
            self._closed.wait(delay_s)

    def registry(self) -> RegistryStatus | None:
        """The registry's state as the child last told it."""
        return self._status

    def ignored(self) -> Sequence[str]:
        """Nothing: what is no policy has no tag, and is none of ours."""
        return ()

    def tell(self, verdicts: Sequence[Verdict], live: Mapping[str, Mapping[str, str]]) -> None:
        """Pass on how versions fared, for their tags in the registry, and what is live, for the cache."""
        message = {"verdicts": [asdict(verdict) for verdict in verdicts], "live": live}
        if self._child is not None:
            try:
                _write(self._child, message)
            except (OSError, ValueError):  # the child is gone; a new one is started and asks again
                log.warning("follower_not_told", verdicts=len(verdicts))

    def close(self) -> None:
        """Stop following: the child ends."""
        self._closed.set()
        if self._child is not None:
            _end(self._child)

    def _listen(self, child: "subprocess.Popen[str]") -> Iterator[Desired]:
        for line in child.stdout or ():
            try:
                message: Message = json.loads(line)
            except ValueError:  # half a line, from a child that was killed
                return
            if "registry" in message:
                self._note(message["registry"])
            if "desired" in message and (desired := _desired(message["desired"])) != self._desired:
                yield desired
                self._desired = desired  # only now: one that could not be applied is yielded again

    def _note(self, registry: Message) -> None:
        last = self._status.last_success if self._status else None
        status = RegistryStatus(registry["is_up"], time.time() if registry["is_up"] else last, registry["error"])
        if self._status is None or (status.is_up, status.error) != (self._status.is_up, self._status.error):
            if status.is_up and not status.error:
                log.info("registry_up")
            else:
                log.warning("registry_problem" if status.is_up else "registry_down", error=status.error)
        self._status = status


def _start(config: FollowerConfig) -> "subprocess.Popen[str]":
    # NOTE: MLflow's own defaults keep one call to a dead registry waiting for minutes.
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "polserve.serving.sources.follower"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**limits, **os.environ, "no_proxy": no_proxy(os.environ)},
        start_new_session=True,  # Ctrl-C is for the service, which then ends the child
    )
    _write(child, asdict(config))  # not as an argument, which every user of the machine could read
    return child


def _write(child: "subprocess.Popen[str]", message: Message) -> None:
    """Send a line; raises OSError or ValueError when the child is gone."""
    if child.stdin is not None:
        child.stdin.write(json.dumps(message) + "\n")
        child.stdin.flush()


def _end(child: "subprocess.Popen[str]") -> None:
    """The child has ended when this returns; first it handles what it was told."""
    if child.stdin is not None:
        with contextlib.suppress(OSError, ValueError):  # it is gone, or was closed already
            child.stdin.close()
    try:
        child.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _desired(message: Message) -> Desired:
    return {
        policy: {alias: VersionRef(**{**ref, "folder": Path(ref["folder"])}) for alias, ref in refs.items()}
        for policy, refs in message.items()
    }


def _check_uri(uri: str) -> None:
    scheme = uri.split(":", 1)[0].split("+", 1)[0]
    is_full = all(importlib.util.find_spec(name) is not None for name in ("sqlalchemy", "alembic"))
    if scheme not in ("http", "https") and not is_full:
        raise ConfigurationError(
            f"MLFLOW_TRACKING_URI: {scheme}: needs the full mlflow package, and only mlflow-skinny is installed, which "
            f"speaks HTTP; run `mlflow server --backend-store-uri ...` with that URI where mlflow is installed and set "
            "MLFLOW_TRACKING_URI to its http:// address"
        )
