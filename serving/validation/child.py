"""The process that tries versions: one that crashes what loads it ends this process, and nothing else.

It ends when its standard input does, and when it has had nothing to do for a while.
"""

import contextlib
import json
import os
import select
import sys
from typing import Any

import structlog

from polserve.serving.children.messages import Message, encode, ref_of
from polserve.serving.errors import PolserveError
from polserve.serving.logs import configure_logs
from polserve.serving.validation.gate import Gate, prove

IDLE_S = 10.0
"""Without work, after which the process ends: its memory is worth more to others."""

log = structlog.get_logger()


def run() -> None:
    """Try what comes, until the end; the parent's, too."""
    with contextlib.suppress(BrokenPipeError):
        _serve()


def _serve() -> None:
    replies = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not reach the parent
    configure_logs()
    told = sys.stdin.readline()
    if not told:  # the service ended as it began: a port was taken, say
        return
    config = json.loads(told)
    gate = Gate(**config["gate"])
    _say(replies, {"pid": os.getpid()})
    # NOTE: select sees the pipe and not what Python has read ahead; there is only ever one request under way.
    while select.select([sys.stdin], [], [], IDLE_S)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        _say(replies, _try(json.loads(line), gate, config["batching"]))


def _try(message: Message, gate: Gate, batching: Any) -> Message:
    ref = ref_of(message["ref"])
    live = ref_of(message["live"]) if message["live"] else None
    try:
        policy = prove(ref, live, gate, batching)
    except PolserveError as refusal:
        return {"reason": str(refusal), "run_id": ""}
    except Exception as error:
        log.exception("proof_failed", policy=ref.policy, version=ref.version)
        return {"reason": f"unexpected {type(error).__name__}; the service's log has the details", "run_id": ""}
    return {"reason": "", "run_id": policy.spec.provenance.run_id}


def _say(replies: Any, message: Message) -> None:
    replies.write(encode(message))
    replies.flush()


if __name__ == "__main__":
    run()
