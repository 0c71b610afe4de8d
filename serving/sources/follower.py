"""The child process that follows an MLflow registry.

It polls the aliases, downloads versions into the cache, tags them with how their rollout ended, and records where
@champion went. It ends when its standard input does, which is when the service ends.
"""

import fcntl
import json
import queue
import random
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import structlog

from polserve.protos.shared.alias_history import Move, extended, points_at
from polserve.protos.shared.names import CHAMPION, POLICY_NAME
from polserve.protos.shared.packages import missing_package
from polserve.serving.errors import one_line
from polserve.serving.logs import configure_logs
from polserve.serving.sources.cache import Reference, References, VersionCache, all_of
from polserve.serving.sources.fetching import Fetcher
from polserve.serving.sources.mlflow import FollowerConfig
from polserve.serving.sources.registry import Model, Registry

ROLLOUT_TAG = "polserve.rollout."
LOCK_FILE = ".lock"
MAX_TAG_LENGTH = 500

LOCK_TIMEOUT_S = 5.0
"""For another follower, which may be ending, to let go of the cache."""
LONGEST_BACKOFF_S = 30.0
"""Between two looks at a registry that does not answer, unless the poll interval is longer."""

log = structlog.get_logger()


class Follower:
    """Reads what a registry's aliases name, and keeps the named versions in the cache."""

    def __init__(self, config: FollowerConfig, registry: Registry, cache: VersionCache) -> None:
        self._config = config
        self._registry = registry
        self._cache = cache
        self._fetcher = Fetcher(
            registry, cache, max_bytes=config.max_artifact_bytes, retry_s=2 * config.poll_interval_s
        )
        self._sha256: dict[tuple[str, str, int], str] = {}
        """As registered, by policy, version and the time that the model was made; not of versions that were refused."""
        self._moves: dict[str, tuple[str, bool]] = {}
        """By policy, the champion that nobody had recorded when it was last looked at, and whether this one tried."""
        self._fetched: dict[tuple[str, str], Reference] = {}
        """By policy and version, what is in the cache and was live, or named, when last told; it may go live yet."""
        self._desired = cache.good
        self.problem = ""
        """What is wrong with single policies, though the registry answers; one line."""

    def last_good(self) -> References:
        """What was live when the service last said so, of what it is to follow now, where its files are still good."""
        kept = {
            policy: {a: ref for a, ref in refs.items() if a in self._config.aliases and self._cache.holds(ref)}
            for policy, refs in self._cache.good.items()
            if not self._config.policies or policy in self._config.policies
        }
        return {policy: refs for policy, refs in kept.items() if refs}

    def desired(self) -> References:
        """By policy and alias, the version to serve, with its files in the cache or the problem that it has.

        A policy that the registry says nothing sensible of stays as it was, and `problem` says why.

        Raises:
            Exception: the registry does not answer.
        """
        problems = []
        desired = {}
        for name, model in self._models().items():
            try:
                desired[name] = self._references(name, model)
            except Exception as error:  # noqa: BLE001 - one bad policy must not keep the others from following
                problems.append(f"{name}: {one_line(error)}")
                if name in self._desired:
                    desired[name] = self._desired[name]
        self.problem = "; ".join(problems)
        self._desired = desired
        self._fetcher.forget_all_but(all_of(desired))
        return desired

    def note(self, message: dict[str, Any]) -> None:
        """Remember what is live, and tag versions with how their rollout ended."""
        for verdict in message["verdicts"]:
            if verdict["reason"]:  # its checksum may have been wrong, and be mended
                self._sha256 = {key: sha for key, sha in self._sha256.items() if key[0] != verdict["policy"]}
            self._tag(verdict)
        try:
            self._remember(message["live"])
        except OSError as error:
            log.warning("last_good_not_saved", error=one_line(error))

    def _tag(self, verdict: dict[str, str]) -> None:
        outcome = "refused" if verdict["reason"] else "live"
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        value = " ".join([outcome, moment, verdict["reason"]]).strip()[:MAX_TAG_LENGTH]
        try:
            self._registry.tag_version(verdict["policy"], verdict["version"], ROLLOUT_TAG + self._config.service, value)
        except Exception as error:  # noqa: BLE001 - a registry that is down, or may only be read, never fails a rollout
            log.warning("rollout_not_tagged", error=one_line(error), **verdict)

    def _models(self) -> dict[str, Model | None]:
        """The models to follow, by name; None for one that does not exist."""
        if self._config.policies:
            return {name: self._registry.model(name) for name in self._config.policies}
        return {model.name: model for model in self._registry.policies()}

    def _references(self, name: str, model: Model | None) -> Mapping[str, Reference]:
        if model is None:
            raise LookupError(f"there is no registered model {name!r}")
        if not POLICY_NAME.fullmatch(name):  # it becomes the name of a folder
            raise ValueError(f"expected a name of letters, digits, '-', '_' and '.', got {name!r}")
        self._record(model)
        aliases = {alias: model.aliases[alias] for alias in self._config.aliases if alias in model.aliases}
        if self._config.policies and not aliases:
            wanted = ", ".join("@" + alias for alias in self._config.aliases)
            raise LookupError(f"no version has the alias {wanted}; what was live goes on")
        refs = {version: self._fetch(model, version) for version in set(aliases.values())}
        return {alias: refs[version] for alias, version in aliases.items()}

    def _fetch(self, model: Model, version: str) -> Reference:
        key = (model.name, version, model.created)
        if key not in self._sha256:
            self._sha256[key] = self._registry.sha256(model.name, version)
        ref = self._fetcher.fetch(Reference(model.name, version, self._sha256[key]))
        if ref.problem:
            del self._sha256[key]
        else:
            self._fetched[ref.policy, ref.version] = ref
        return ref

    def _record(self, model: Model) -> None:
        """A champion that nobody has recorded from one look to the next was moved there by hand: record it."""
        champion = model.aliases.get(CHAMPION)
        before, self._moves[model.name] = self._moves.get(model.name), (champion or "", False)
        if champion is None or points_at(model.history, champion) or before is None or before[0] != champion:
            return
        self._moves[model.name] = (champion, True)
        if before[1]:
            return
        move = Move.now(champion, f"seen by {self._config.service}")
        try:
            latest = self._registry.model(model.name)  # others write it too, and downloads may have taken a while
            if latest is not None and latest.aliases == model.aliases and not points_at(latest.history, champion):
                self._registry.write_history(model.name, extended(latest.history, move))
        except Exception as error:  # noqa: BLE001 - likewise
            log.warning("move_not_recorded", policy=model.name, version=champion, error=one_line(error))

    def _remember(self, live: dict[str, dict[str, str]]) -> None:
        """Keep what is live as the last good state.

        A policy that is followed and of which nothing is live keeps its last good state.
        """
        known = {(ref.policy, ref.version): replace(ref, problem="") for ref in all_of(self._cache.good)}
        known |= self._fetched
        good = {policy: refs for policy, refs in self._cache.good.items() if policy in self._desired}
        for policy, aliases in live.items():
            refs = {alias: known[policy, version] for alias, version in aliases.items() if (policy, version) in known}
            if refs:
                good[policy] = refs
        named = all_of(self._desired)
        self._cache.remember(good, named)
        kept = {(ref.policy, ref.version) for ref in (*all_of(good), *named)}
        self._fetched = {key: ref for key, ref in self._fetched.items() if key in kept}


def run(config: FollowerConfig) -> None:
    """Follow until standard input ends; what makes that impossible is told to the service."""
    sys.stdout = sys.stderr  # what a library prints must not reach the service
    folder = Path(config.cache_dir)
    try:
        with _opened(folder) as lock:
            _lock(lock, folder)
            cache = VersionCache(folder)
            follower = Follower(config, Registry(config.tracking_uri), cache)
            if good := follower.last_good():
                _say(cache, good, {})
            _follow(follower, cache, config)
    except CannotFollow as error:
        _give_up(str(error))
    except ModuleNotFoundError as error:
        _give_up(f"MLFLOW_TRACKING_URI: {missing_package(error)}")
    except Exception as error:
        log.exception("follower_failed")
        _give_up(f"the registry cannot be followed: {type(error).__name__}: {one_line(error)}")


class CannotFollow(Exception):
    """The follower cannot do its work; the message says why, in one line."""


def _give_up(problem: str) -> None:
    _send({"registry": {"is_up": False, "error": problem}})
    sys.exit(1)


def _opened(folder: Path) -> TextIO:
    """The lock file of the cache; raises CannotFollow where versions cannot be kept there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return (folder / LOCK_FILE).open("w")
    except OSError as error:
        raise CannotFollow(
            f"cache-dir: versions cannot be kept in {folder} ({error.strerror}); "
            "let this user write there, or choose another folder with --cache-dir"
        ) from error


def _follow(follower: Follower, cache: VersionCache, config: FollowerConfig) -> None:
    inbox: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(inbox,), daemon=True).start()
    failures = 0
    is_going = True
    while is_going:
        until = time.monotonic() + pause_s(config.poll_interval_s, failures)
        try:
            desired = follower.desired()
            failures = 0
            _say(cache, desired, {"is_up": True, "error": follower.problem})
        except Exception as error:  # noqa: BLE001 - whatever the registry does wrong, the service goes on
            failures += 1
            _send({"registry": {"is_up": False, "error": one_line(error)}})
            until = time.monotonic() + pause_s(config.poll_interval_s, failures)
        is_going = _wait(inbox, follower, until)


def pause_s(interval_s: float, failures: int) -> float:
    """Seconds from one look at the registry to the next, after so many failures in a row.

    Never more than `interval_s` while the registry answers, and up to a fifth less, so that many services do not ask
    at the same moment; twice as long after each failure.
    """
    longest_s = max(interval_s, LONGEST_BACKOFF_S)
    return min(interval_s * 2.0 ** min(failures, 10), longest_s) * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


def _lock(lock: TextIO, folder: Path) -> None:
    """Hold the cache alone; two services would delete each other's versions."""
    until = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > until:
                taken = f"another service uses the cache {folder}; set another --service or --cache-dir"
                raise CannotFollow(taken) from None
            time.sleep(0.1)


def _wait(inbox: "queue.Queue[str | None]", follower: Follower, until: float) -> bool:
    """Handle what the service says until then, and what it has said by then; False when it said goodbye."""
    while True:
        try:
            line = inbox.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return True
        if line is None:
            return False
        follower.note(json.loads(line))


def _read_lines(inbox: "queue.Queue[str | None]") -> None:
    for line in sys.stdin:
        inbox.put(line)
    inbox.put(None)


def _say(cache: VersionCache, desired: References | None, registry: dict[str, Any]) -> None:
    """Tell the service what is desired, unless that is unknown, and how the registry does, if it was asked."""
    message: dict[str, Any] = {"registry": registry} if registry else {}
    if desired is not None:
        message["desired"] = {
            policy: {alias: {**asdict(ref), "folder": str(cache.path(ref))} for alias, ref in refs.items()}
            for policy, refs in desired.items()
        }
    _send(message)


def _send(message: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]  # a pipe to the service
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    configure_logs()
    run(FollowerConfig(**json.loads(sys.stdin.readline())))
