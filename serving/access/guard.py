"""The guard: from what a caller shows to what they may do, decided once for each token and then remembered."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from polserve.serving.access.access_file import AccessList, read_access_file
from polserve.serving.access.buckets import Buckets
from polserve.serving.access.callers import ANYBODY, STRANGER, Caller, Role, visible
from polserve.serving.access.keys import KeysAwaited, KeySet, open_keys
from polserve.serving.access.web_tokens import WebTokenRules, WebTokens
from polserve.serving.audit import Audit, no_audit
from polserve.serving.errors import NotReady, Overloaded, PermissionDenied, Unauthenticated
from polserve.serving.logs import SparseLog
from polserve.serving.reloading import Reloaded
from polserve.serving.request_ids import RequestId

MOST_REMEMBERED = 10_000
"""Callers that are remembered; beyond that all are forgotten and decided anew."""
RETRY_AFTER_S = 1.0
FAILURES_PER_S, FAILURES_AT_ONCE = 5.0, 50.0
"""Calls a second that may show nothing valid, from one address, and how many in a row."""

_BEARER = b"bearer "


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Who may call."""

    access_file: Path | None = None
    web_tokens: WebTokenRules | None = None
    key_place: str = ""
    """File or URL of the keys that sign web tokens."""
    anonymous: Role = Role.NONE
    """What those may do who show nothing, where others must show something."""
    is_mutual: bool = False
    """Whether clients must show a certificate."""
    max_call_rate: float = math.inf
    """Calls a second of one caller, or of an address that nobody asks who they are."""

    @property
    def are_open(self) -> bool:
        """Whether nobody is asked who they are."""
        return self.access_file is None and self.web_tokens is None and not self.is_mutual


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller shows."""

    authorization: bytes = b""
    """The value of `authorization`; empty where there is none."""
    certificate: tuple[str, ...] = ()
    """Names in the certificate that the caller's connection has proved."""
    address: str = ""
    """Where the caller is."""
    method: str = ""
    """What is called, for the log."""
    is_local: bool = False
    """Whether the caller came over a UNIX socket, whose file has let them in."""
    request_id: RequestId = field(default_factory=RequestId, compare=False)
    """What the call is called in the log."""


class Guard:
    """Knows callers by what they show; may be used from several threads."""

    def __init__(
        self, rules: AccessRules, count: Callable[[str], None] = lambda _reason: None, audit: Audit = no_audit
    ) -> None:
        """Read the files.

        Args:
            rules: who may call.
            count: called with the reason of each call that is denied.
            audit: takes note of each call that is denied.

        Raises:
            ConfigurationError: a file cannot be used.
        """
        self._rules = rules
        self._count = count
        self._audit = audit
        self._list: Reloaded[AccessList] | None = None
        if (path := rules.access_file) is not None:
            self._list = Reloaded("access", [path], lambda: read_access_file(path))
        self._web_tokens = None
        if rules.web_tokens is not None:
            self._web_tokens = WebTokens(rules.web_tokens, open_keys(rules.key_place))
        self._lock = threading.Lock()
        self._known: dict[tuple[bytes, tuple[str, ...], bool], Caller] = {}
        self._known_by: tuple[AccessList | None, KeySet | None] = (None, None)
        """The list and the keys by which they are known."""
        self._failures = Buckets(FAILURES_PER_S, FAILURES_AT_ONCE)
        rate = rules.max_call_rate
        self._calls = None if math.isinf(rate) else Buckets(rate, max(1.0, rate))
        self._log = SparseLog("call_denied")

    @property
    def is_stale(self) -> bool | None:
        """Whether the access file has changed to something that cannot be used; None where there is none."""
        return None if self._list is None else self._list.is_stale

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are, and nobody may call too often."""
        return self._rules.are_open and self._calls is None

    def look(self) -> None:
        """Take in files that have changed; called every second."""
        if self._list is not None:
            before = self._list.value
            self._list.look()
            if self._list.value is not before:
                before.revoke_all_but(self._list.value)
        if self._web_tokens is not None:
            self._web_tokens.look()

    def admit(self, needs: Role, shown: Shown, *, is_paced: bool = True) -> Caller:
        """Return who calls; everybody is admitted to what needs no role.

        Args:
            needs: role that the caller must have.
            shown: what the caller shows.
            is_paced: whether it is one of the calls that `--max-call-rate` bounds; a page is none, nor is a part of a
                request that was counted already.

        Raises:
            Unauthenticated: the caller shows nothing that is valid.
            PermissionDenied: the caller may not do this.
            Overloaded: too many calls from there showed nothing valid, or the caller calls too often.
            KeysAwaited: it will be known soon.
            NotReady: it cannot be known now.
        """
        if self.is_open:
            return ANYBODY
        try:
            caller = ANYBODY if self._rules.are_open else self._caller(shown)
            if caller.role < needs:
                self._deny(shown, caller, needs)
            if self._calls is not None and needs is not Role.NONE and is_paced:
                self._pace(self._calls, shown, caller)
        except (KeysAwaited, NotReady, Overloaded):
            if needs is Role.NONE:
                return STRANGER
            raise
        except Unauthenticated as error:
            if needs is Role.NONE:
                return STRANGER
            self._note(error.reason, shown, "")
            with self._lock:
                is_over = self._failures.take(shown.address) > 0
            if is_over:
                raise _too_many_failures() from error
            raise
        return caller

    def _caller(self, shown: Shown) -> Caller:
        """Return who calls; raises as `admit`."""
        told = None if self._list is None else self._list.value
        key = (shown.authorization, shown.certificate, shown.is_local)
        keys = None if self._web_tokens is None else self._web_tokens.keys
        known_by = self._known_by
        is_current = known_by[0] is told and known_by[1] is keys
        caller = self._known.get(key) if is_current else None
        now = time.time()
        if caller is not None and now < caller.expires_at:
            return caller
        caller = self._identified(shown, told)
        if now >= caller.expires_at:
            raise Unauthenticated("expired", "the token has expired")
        with self._lock:
            is_current = self._known_by[0] is told and self._known_by[1] is keys  # another thread may have seen to it
            if not is_current or len(self._known) >= MOST_REMEMBERED:
                self._known, self._known_by = {}, (told, keys)
            self._known[key] = caller
        return caller

    def _identified(self, shown: Shown, told: AccessList | None) -> Caller:
        """Find out who calls; raises as `admit`."""
        if shown.authorization:
            return self._by_token(shown, told)
        if told is not None and (caller := told.caller_of_certificate(shown.certificate)) is not None:
            return caller
        if self._rules.access_file is None and self._rules.web_tokens is None:
            if shown.is_local:
                return ANYBODY
            if shown.certificate:
                return Caller(shown.certificate[0], Role.ACT)
        visible_to_all = None if self._rules.anonymous > Role.NONE else visible(())
        return Caller("anonymous", self._rules.anonymous, visible_to_all)

    def _by_token(self, shown: Shown, told: AccessList | None) -> Caller:
        if not shown.authorization[: len(_BEARER)].lower() == _BEARER:
            raise Unauthenticated("form", "it has another form")
        token = shown.authorization[len(_BEARER) :].strip()
        if told is not None and (caller := told.caller_of_token(token)) is not None:
            return caller
        if self._web_tokens is None or token.count(b".") != 2:  # noqa: PLR2004 - of header, claims and signature
            raise Unauthenticated("unknown", "the token is not known here")
        with self._lock:
            if self._failures.is_empty(shown.address):  # a signature takes time
                raise _too_many_failures()
        return self._web_tokens.caller(token.decode("ascii", "replace"))

    def _deny(self, shown: Shown, caller: Caller, needs: Role) -> None:
        """Refuse a caller whose role is too small; who has shown nothing is asked to."""
        if not shown.authorization and not shown.certificate:
            if self._rules.access_file is None and self._rules.web_tokens is None:
                expected = "certificate: expected a client certificate"
                raise Unauthenticated("none", "the connection has none", expected)
            raise Unauthenticated("none", "there is no such header")
        self._note("role", shown, caller.name)
        raise PermissionDenied(needs.name.lower(), caller.role.name.lower())

    def _pace(self, calls: Buckets, shown: Shown, caller: Caller) -> None:
        """Count a call of a caller, or of an address where nobody shows who they are; raises Overloaded."""
        is_known = bool(shown.authorization or shown.certificate) and caller is not ANYBODY
        with self._lock:
            wait_s = calls.take((caller.name, caller.role) if is_known else shown.address)
        if wait_s > 0:
            self._note("rate", shown, caller.name)
            who = "this caller" if is_known else "this address"
            raise Overloaded(f"{who} makes more than {self._rules.max_call_rate:g} calls a second", wait_s, "rate")

    def _note(self, reason: str, shown: Shown, caller: str) -> None:
        self._count(reason)
        told = {
            "reason": reason,
            "method": shown.method,
            "client": shown.address,
            "caller": caller or "unknown",
            "request_id": str(shown.request_id),
        }
        self._log.write(**told)
        self._audit("call_denied", **told)


def _too_many_failures() -> Overloaded:
    return Overloaded("too many calls from this address show nothing valid", RETRY_AFTER_S, "strangers")
