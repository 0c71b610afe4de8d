"""Calls over HTTP are not waited for for ever where a worker answers nothing, such as one that was stopped."""

import asyncio
import socket

import pytest

from polserve.serving.access.guard import Shown
from polserve.serving.calls import Asker
from polserve.serving.errors import Expired
from polserve.serving.workers import relay


def test_a_worker_that_answers_nothing_is_no_longer_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "ANSWER_S", 0.05)

    async def ask() -> None:
        ours, theirs = socket.socketpair()
        passed_on = relay.Relay()
        passed_on.add(0, ours)
        with theirs, pytest.raises(Expired):
            await passed_on.ask("/polserve.v1.PolicyService/Act", b"", Asker(lambda: False, Shown()))
        await asyncio.sleep(0.05)  # in which our end is closed, too

    asyncio.run(ask())
