"""What the supervisor asks of several workers at once, or of one that is starting."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from polserve.serving.logs import Log
from polserve.serving.processes.encoding import Message
from polserve.serving.processes.parent import ChildLost, ChildProcess, ChildRefused

log = Log()


@dataclass(frozen=True, slots=True)
class Replies:
    """What came of one request to several workers; those that were lost are in neither."""

    n_done: int
    refusals: Mapping[ChildProcess, str]
    """Why a worker did not do it."""


def ask_all(pool: ThreadPoolExecutor, workers: Iterable[ChildProcess], message: Message, timeout_s: float) -> Replies:
    """Ask several workers at once; one that is lost is replaced by its keeper."""
    asked = {worker: pool.submit(worker.ask, message, timeout_s) for worker in list(workers)}
    n_done, refusals = 0, dict[ChildProcess, str]()
    for worker, reply in asked.items():
        try:
            reply.result()
            n_done += 1
        except ChildRefused as refusal:
            refusals[worker] = str(refusal)
        except ChildLost as error:
            log.warning("worker_lost", error=str(error))
    return Replies(n_done, refusals)


def must_do(worker: ChildProcess, message: Message, timeout_s: float) -> None:
    """Ask a worker that is starting; raises ChildLost where it does not do it."""
    try:
        worker.ask(message, timeout_s)
    except ChildRefused as refusal:
        raise ChildLost(f"worker process {worker.pid} cannot {message['do']}: {refusal}") from refusal
