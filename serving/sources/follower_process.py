"""The process that follows an MLflow registry, which is asked nowhere else.

It tells the service what is desired and how the registry does, and hears how versions fared and what went live. It also
reads the history of a policy when it is asked to. It ends when the service does.
"""

import contextlib
import errno
import fcntl
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from polserve.protos.shared.packages import missing_package
from polserve.serving.errors import one_line
from polserve.serving.logs import Log
from polserve.serving.processes.child import Parent, ParentGone
from polserve.serving.processes.encoding import Message, encode_each, encode_ref
from polserve.serving.sources.bounded_calls import MOST_HANGING
from polserve.serving.sources.cache import VersionCache
from polserve.serving.sources.follower import Follower, last_good
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.history import HistoryReader
from polserve.serving.versions import DesiredVersions, RolloutResult

LOCK_FILE = ".lock"
LOCK_TIMEOUT_S = 5.0
"""Seconds for another follower, which may be ending, to let go of the cache."""
LONGEST_BACKOFF_S = 30.0
"""Seconds between two looks at a registry that does not answer, unless the poll interval is longer."""

log = Log()


class CannotFollow(Exception):
    """The follower cannot do its work; the message says why, in one line."""


class NoCache(CannotFollow):
    """There is no place to keep versions in: the registry is not asked."""


def main() -> None:
    """Follow until the service ends; tell it what makes that impossible, and exit with 1."""
    parent = Parent.of_this_process()
    with contextlib.suppress(ParentGone):
        config = FollowerConfig(**parent.receive())
        parent.say_ready()
        is_asked = True
        try:
            with _locked(Path(config.cache_dir)) as folder:
                _follow(parent, config, VersionCache(folder))
        except CannotFollow as error:
            problem, is_asked = str(error), not isinstance(error, NoCache)
        except ModuleNotFoundError as error:
            problem = f"MLFLOW_TRACKING_URI: {missing_package(error)}"
        except ParentGone:
            raise
        except Exception as error:
            log.exception("follower_failed")
            problem = f"the registry cannot be followed: {type(error).__name__}: {one_line(error)}"
        parent.send({"registry": {**_down(problem), "is_asked": is_asked}})
        sys.exit(1)


def _follow(parent: Parent, config: FollowerConfig, cache: VersionCache) -> None:
    """Look at the registry again and again; raises ParentGone when the service ends."""
    if good := last_good(config, cache):
        parent.send({"desired": _encode(good)})
    from polserve.serving.sources.registry import Registry  # which takes seconds: what is known already need not wait

    registry, folder = Registry(config.tracking_uri), Path(config.cache_dir)
    follower, histories = Follower(config, registry, cache), HistoryReader(registry)
    failures = 0
    while True:
        started = time.monotonic()
        try:
            desired = follower.desired()
        except Exception as error:  # noqa: BLE001 - whatever the registry does wrong, the service goes on
            failures += 1
            started = time.monotonic()  # a look that failed may have waited for long
            parent.send({"registry": _down(one_line(error))})
        else:
            failures = 0
            problem = "; ".join(filter(None, (follower.problem, _why_not_writable(folder))))
            parent.send({"desired": _encode(desired), "registry": {"is_up": True, "error": problem}})
        if registry.is_stuck:
            hang = f"{MOST_HANGING} calls to the registry, or to its store of artifacts, hang"
            raise CannotFollow(f"{hang}; another follower takes over")
        _listen(parent, follower, histories, until=started + pause_s(config.poll_interval_s, failures))


def _listen(parent: Parent, follower: Follower, histories: HistoryReader, until: float) -> None:
    """Record what the service says until then, and what it has said by then; answer what it asks."""
    while True:
        try:
            told = parent.receive(max(0.0, until - time.monotonic()))
        except TimeoutError:
            return
        if "history" in told:
            parent.send({"history": _history(histories, told["history"])})
        else:
            results = [RolloutResult(**result) for result in told["results"]]
            follower.record(results, told["live"])
            kept = [(one.policy, one.version) for one in results if one.is_final and follower.has_kept(one)]
            if kept:
                parent.send({"kept": kept})


def _history(histories: HistoryReader, policy: str) -> Message:
    """Read the history of a policy; return it, or why it cannot be read."""
    try:
        return {"policy": policy, **histories.read(policy), "problem": ""}
    except Exception as error:  # noqa: BLE001 - whatever the registry does wrong, the service goes on
        return {"policy": policy, "problem": one_line(error)}


def pause_s(interval_s: float, failures: int) -> float:
    """Seconds from one look at the registry to the next, after so many failures in a row.

    Never more than `interval_s` while the registry answers, and up to a fifth less, so that many services do not ask
    at the same moment; twice as long after each failure.
    """
    longest_s = max(interval_s, LONGEST_BACKOFF_S)
    return min(interval_s * 2.0 ** min(failures, 10), longest_s) * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold the cache alone: two services would delete each other's versions.

    A disk that has become full or read-only keeps nothing new, but what is in the cache can still be served from there.

    Raises:
        NoCache: there is no cache and none can be made, or another service holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _open_lock(folder / LOCK_FILE)
    except OSError as error:
        raise NoCache(_cannot_keep(folder, error)) from error
    with lock:
        until = time.monotonic() + LOCK_TIMEOUT_S
        while not _try_lock(lock.fileno()):
            if time.monotonic() > until:
                raise NoCache(f"another service uses the cache {folder}; set another --service or --cache-dir")
            time.sleep(0.1)
        yield folder


def _open_lock(path: Path) -> TextIO:
    """Open the file that is locked, made where there is none; raises OSError."""
    try:
        return path.open("a")
    except OSError:
        if not path.exists():
            raise
        return path.open()  # which is enough to lock it


def _why_not_writable(folder: Path) -> str | None:
    """Say why versions cannot be kept in the cache now; None where they can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
            probe.flush()
    except OSError as error:
        return _cannot_keep(folder, error)
    return None


def _cannot_keep(folder: Path, error: OSError) -> str:
    remedy = "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "let this user write there"
    return (
        f"cache-dir: versions cannot be kept in {folder} ({error.strerror}); {remedy}, or choose another folder with "
        "--cache-dir"
    )


def _try_lock(fd: int) -> bool:
    """Lock a file, if nobody else holds it; return whether it is held now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _encode(versions: DesiredVersions) -> Message:
    return encode_each(versions, encode_ref)


def _down(problem: str) -> Message:
    return {"is_up": False, "error": problem}


if __name__ == "__main__":
    main()
