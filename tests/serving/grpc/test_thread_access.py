"""Where keys take longer to come than a thread waits for them, the caller is told to try again."""

from types import SimpleNamespace
from typing import Any

import pytest

from polserve.serving.access.callers import Role
from polserve.serving.access.guard import AccessRules, Guard
from polserve.serving.access.web_tokens import WebTokenRules
from polserve.serving.errors import NotReady
from polserve.serving.grpc import thread_access
from polserve.serving.request_ids import RequestId
from tests.support.web_tokens import AUDIENCE, ISSUER, Issuer, key_server, key_set


def test_keys_that_are_long_in_coming_are_no_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_access, "FETCH_S", -0.95)
    issuer = Issuer()
    context: Any = SimpleNamespace(
        auth_context=dict,
        invocation_metadata=lambda: [("authorization", f"Bearer {issuer.token()}")],
        peer=lambda: "ipv4:192.0.2.1:4242",
    )
    method = SimpleNamespace(needs=Role.ACT, path="/Act")
    call: Any = SimpleNamespace(method=method, refusal=None, request_id=RequestId())
    with key_server(key_set(issuer)) as keys:
        keys.may_answer.clear()
        guard = Guard(AccessRules(web_tokens=WebTokenRules(ISSUER, AUDIENCE), key_place=keys.url))
        thread_access.admit(guard, call, context)
        keys.may_answer.set()
    assert isinstance(call.refusal, NotReady)
