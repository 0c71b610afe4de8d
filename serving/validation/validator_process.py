"""The process that validates versions: a version that crashes what loads it ends this process, and nothing else.

It ends when its parent does, and when it has had nothing to do for a while.
"""

import contextlib
from typing import Any

from polserve.serving.processes.child import Parent, ParentGone
from polserve.serving.processes.encoding import Message, decode_ref, encode_accepted
from polserve.serving.validation.acceptance import AcceptanceLimits, validate

IDLE_S = 10.0
"""Seconds without work after which the process ends: its memory is worth more to others."""


def main() -> None:
    """Validate what the parent asks for, until there is nothing more to do."""
    parent = Parent.of_this_process()
    with contextlib.suppress(ParentGone):
        config = parent.receive()
        limits, batching = AcceptanceLimits(**config["limits"]), config["batching"]
        parent.say_ready()
        parent.serve(lambda request: _answer(request, limits, batching), IDLE_S)


def _answer(request: Message, limits: AcceptanceLimits, batching: Any) -> Message:
    """Validate the version that a request names; raises RolloutRefused."""
    live = decode_ref(request["live"]) if request["live"] else None
    return encode_accepted(validate(decode_ref(request["ref"]), live, limits, batching))


if __name__ == "__main__":
    main()
