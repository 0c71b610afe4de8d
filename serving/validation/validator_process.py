"""The process that validates versions: a version that crashes what loads it ends this process, and nothing else.

It has no network, and bounds on all that it may take. It ends when its parent does, and when it has had nothing to do
for a while.
"""

import contextlib
from typing import TYPE_CHECKING, Any

from polserve.serving.logs import Log
from polserve.serving.memory import collect_again, collect_later
from polserve.serving.processes.child import Parent, ParentGone
from polserve.serving.processes.encoding import Message, decode_ref, encode_accepted
from polserve.serving.validation.confinement import begin_version, leave_network, limit_process, out_of_memory

if TYPE_CHECKING:
    from polserve.serving.validation.acceptance import AcceptanceLimits

IDLE_S = 10.0
"""Seconds without work after which the process ends: its memory is worth more to others."""

log = Log()


def main() -> None:
    """Validate what the parent asks for, until there is nothing more to do."""
    collect_later()
    problem = leave_network()
    parent = Parent.of_this_process()
    if problem is not None:
        log.info("validator_has_network", reason=problem)
    from polserve.serving.validation.acceptance import AcceptanceLimits  # whose libraries start threads

    collect_again()
    with contextlib.suppress(ParentGone):
        config = parent.receive()
        limits, batching, memory_mib = AcceptanceLimits(**config["limits"]), config["batching"], config["memory_mib"]
        limit_process(memory_mib)
        parent.say_ready()
        parent.serve(lambda request: _answer(request, limits, batching, memory_mib), IDLE_S)


def _answer(request: Message, limits: "AcceptanceLimits", batching: Any, memory_mib: int) -> Message:
    """Validate the version that a request names; raises RolloutRefused."""
    from polserve.serving.validation.acceptance import validate

    begin_version()
    live = decode_ref(request["live"]) if request["live"] else None
    try:
        return encode_accepted(validate(decode_ref(request["ref"]), live, limits, batching))
    except Exception as error:
        refusal = out_of_memory(error, memory_mib)
        if refusal is None:
            raise
        raise refusal from error


if __name__ == "__main__":
    main()
