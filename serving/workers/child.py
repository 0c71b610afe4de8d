"""A worker process: answers calls, and does what its supervisor says on standard input.

It ends when it is told to, when it gets SIGTERM, and when its standard input ends, which is when the supervisor does.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from polserve.serving.children.messages import Message, encode, live_of, ref_of
from polserve.serving.errors import one_line
from polserve.serving.logs import configure_logs
from polserve.serving.metrics.answers import assume_no_forks
from polserve.serving.settings import Settings
from polserve.serving.signals import EndSignals
from polserve.serving.workers.epoch import SharedEpoch
from polserve.serving.workers.worker import Share, Worker

log = structlog.get_logger()


class Child:
    """Does one thing after another."""

    def __init__(self, worker: Worker, host: str, port: int) -> None:
        self._worker = worker
        self._address = (host, port)

    def do(self, message: Message) -> Message:
        """What came of a request."""
        match message["do"]:
            case "prepare":
                return {"reason": self._worker.shelf.prepare(ref_of(message["ref"]))}
            case "stage":
                return {"reason": self._worker.shelf.stage(message["epoch"], live_of(message["live"]))}
            case "start":
                self._worker.bind(*self._address)
                self._worker.start()
            case "health":
                self._worker.set_health(is_ready=message["is_ready"])
            case other:
                raise ValueError(f"nothing is known of {other!r}")
        return {"reason": ""}


def run() -> None:
    """Serve until the end."""
    replies = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not reach the supervisor
    configure_logs()
    signals = EndSignals()
    config = json.loads(sys.stdin.readline())
    structlog.contextvars.bind_contextvars(worker=config["index"])
    assume_no_forks()
    worker = Worker(
        Settings(**config["settings"]),
        CollectorRegistry(),
        SharedEpoch(config["epoch_fd"]),
        Share(config["index"], config["n"]),
    )
    child = Child(worker, config["host"], config["port"])
    threading.Thread(target=_obey, args=(child, replies), daemon=True).start()
    signals.wait()
    worker.drain(config["grace_s"])
    os._exit(0)  # threads that load a version, or wait for a client, do not hold up the end


def _obey(child: Child, replies: Any) -> None:
    """Do what the supervisor says, until it is gone."""
    with contextlib.suppress(OSError):
        _say(replies, {"pid": os.getpid()})
        for line in sys.stdin:
            message = json.loads(line)
            try:
                reply = child.do(message)
            except Exception as error:
                log.exception("worker_failed", request=message["do"])
                reply = {"reason": f"{type(error).__name__}: {one_line(error)}"}
            _say(replies, reply)
    os.kill(os.getpid(), signal.SIGTERM)


def _say(replies: Any, message: Message) -> None:
    replies.write(encode(message))
    replies.flush()


if __name__ == "__main__":
    run()
