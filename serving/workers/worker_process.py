"""A worker process: answers calls, and does what its supervisor says on standard input.

It ends when it is told to, when it gets SIGTERM, and when its supervisor ends.
"""

import contextlib
import os
import signal
import socket
import threading
from dataclasses import asdict
from pathlib import Path

from prometheus_client import CollectorRegistry

from polserve.serving.grpc.listener import SharedPort
from polserve.serving.inference.run_marks import RunMarks
from polserve.serving.logs import log_always
from polserve.serving.memory import collect_seldom
from polserve.serving.metrics.shared_values import share_metrics
from polserve.serving.processes.child import Parent, ParentGone
from polserve.serving.processes.encoding import Message, decode_accepted, decode_each
from polserve.serving.settings.settings import Settings
from polserve.serving.signals import EndSignals
from polserve.serving.workers.connections import ConnectionCounts, WorkerTurns
from polserve.serving.workers.epoch import SharedEpoch
from polserve.serving.workers.worker import Share, Worker

HANGING = 70
"""Exit code of a worker in which a run of a model does not end."""


class SupervisedWorker:
    """A worker that does what the supervisor's requests say."""

    def __init__(self, config: Message) -> None:
        """Make the worker that the supervisor configured; it answers no call yet."""
        index, n = config["index"], config["n"]
        turns = WorkerTurns(ConnectionCounts(n, config["counts_fd"]), index)
        port = SharedPort(socket.socket(fileno=config["port_fd"]), turns)
        socket_fd = config["socket_fd"]
        local = socket_fd and SharedPort(socket.socket(fileno=socket_fd), turns)
        share = Share(index, n, port, local, RunMarks(n, config["marks_fd"]).of(index))
        self.worker = Worker(
            Settings.of_message(config["settings"]), CollectorRegistry(), SharedEpoch(config["epoch_fd"]), share
        )
        self._calls = socket.socket(fileno=config["calls_fd"])
        self._address = (config["host"], config["port"])

    def do(self, request: Message) -> Message:
        """Do what a request says; raises RolloutRefused where a version cannot be loaded."""
        match request["do"]:
            case "prepare":
                self.worker.loader.prepare(decode_accepted(request["version"]))
            case "stage":
                self.worker.loader.stage(request["epoch"], decode_each(request["live"], decode_accepted))
            case "start":
                self.worker.bind(*self._address)
                self.worker.start()
                self.worker.take_calls(self._calls)
            case "health":
                self.worker.set_health(is_ready=request["is_ready"])
            case other:
                raise ValueError(f"do: expected prepare, stage, start or health, got {other!r}")
        return {}


def main() -> None:
    """Answer calls until the supervisor, or a signal, ends this process."""
    collect_seldom()
    parent = Parent.of_this_process()
    signals = EndSignals()
    try:
        config = parent.receive()
    except ParentGone:  # the service ended as it began
        return
    log_always(worker=config["index"])
    share_metrics(config["index"], Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    supervised = SupervisedWorker(config)
    watch = supervised.worker.watch
    watch.report = lambda runaway: parent.give_notice(asdict(runaway))
    watch.give_up = lambda: os._exit(HANGING)  # the supervisor starts another
    parent.pulse, parent.last_s = supervised.worker.pulse, config["grace_s"] + 1.0
    threading.Thread(target=_obey, args=(parent, supervised), daemon=True).start()
    signals.wait()
    supervised.worker.drain(config["grace_s"])
    os._exit(0)  # threads that load a version, or wait for a client, do not hold up the end


def _obey(parent: Parent, supervised: SupervisedWorker) -> None:
    """Do what the supervisor says until it is gone, then end this process."""
    with contextlib.suppress(ParentGone):
        parent.say_ready()
        parent.serve(supervised.do)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
