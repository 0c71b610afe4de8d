"""The public keys of those who sign JSON web tokens: from a file, or from a URL that is asked again."""

import json
import threading
import time
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from polserve.protos.shared.hosts import is_loopback
from polserve.serving.errors import ConfigurationError, NotReady, one_line
from polserve.serving.logs import Log
from polserve.serving.reloading import Reloaded, read_file

SETTING = "jwt-keys"
FETCH_S = 5.0
"""Time limit of one fetch."""
REFRESH_S = 300.0
"""Age at which keys are fetched again, so that withdrawn ones are forgotten."""
PAUSE_S = 30.0
"""Shortest time between two fetches for key ids that are not known: callers choose those."""
FAILED_PAUSE_S = 2.0
"""Time after which a fetch that failed is tried again."""
MAX_BYTES = 1 << 20
_OF_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_BY_CURVE = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "Ed25519": ("EdDSA",)}
_ALGORITHMS = frozenset((*_OF_RSA, *(name for names in _BY_CURVE.values() for name in names)))
"""Algorithms whose keys only verify. With a shared secret (HS256), everybody could sign who can verify."""

log = Log()


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, and what it may be used with: that is never the token's to choose."""

    key: Any
    algorithms: tuple[str, ...]


KeySet: TypeAlias = Mapping[str, VerifyingKey]
"""Keys by their ids."""


class KeysAwaited(Exception):
    """Whether a key exists will be known soon: when `fetched` is done."""

    def __init__(self, fetched: "Future[None]") -> None:
        super().__init__("the keys are being fetched")
        self.fetched = fetched


class Keys(Protocol):
    """Where keys are looked up."""

    @property
    def current(self) -> KeySet:
        """The keys that are known now."""

    def find(self, key_id: str | None) -> VerifyingKey | None:
        """Return a key by its id, or the only one where the token names none; None where there is no such key.

        Raises:
            KeysAwaited: that will be known soon.
            NotReady: the keys cannot be had now.
        """

    def look(self) -> None:
        """Take in what has changed; called every second."""


def open_keys(place: str) -> Keys:
    """Return the keys at a path or URL.

    Raises:
        ConfigurationError: the file cannot be used, or the URL is not encrypted.
    """
    if "://" not in place:
        return FileKeys(Path(place))
    parts = urlsplit(place)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        expected = "a file or an https:// address, since whoever answers in its place could let anybody in"
        raise ConfigurationError(f"{SETTING}: expected {expected}, got {parts.scheme}://{parts.hostname}")
    return FetchedKeys(place)


def parse_keys(contents: bytes) -> KeySet:
    """Read a JSON Web Key Set; keys that do not verify signatures are left out.

    Raises:
        ConfigurationError: it is none, or has no such key.
    """
    try:
        listed = json.loads(contents)["keys"]
        keys = {str(told.get("kid", "")): key for told in listed if (key := _verifying_key(told)) is not None}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{SETTING}: expected a JSON Web Key Set, got something else") from error
    if not keys:
        known = ", ".join(sorted(_ALGORITHMS))
        raise ConfigurationError(f"{SETTING}: expected a public key for one of {known}, got none")
    return keys


def _verifying_key(told: Mapping[str, Any]) -> VerifyingKey | None:
    from jwt import PyJWK, PyJWTError

    usual = _OF_RSA if told.get("kty") == "RSA" else _BY_CURVE.get(str(told.get("crv")), ())
    algorithms = (str(told["alg"]),) if "alg" in told else usual
    if told.get("use", "sig") != "sig" or not algorithms or not set(algorithms) <= set(usual):
        return None
    try:
        return VerifyingKey(PyJWK(dict(told)).key, algorithms)
    except (PyJWTError, ValueError):  # one that is damaged does not keep the others out
        log.warning("key_left_out", what=SETTING, key_id=str(told.get("kid", ""))[:100])
        return None


class FileKeys:
    """Keys of a file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises ConfigurationError."""
        self._keys = Reloaded(SETTING, [path], lambda: parse_keys(read_file(SETTING, path)))

    @property
    def current(self) -> KeySet:
        """The keys that are known now."""
        return self._keys.value

    def find(self, key_id: str | None) -> VerifyingKey | None:
        """Return a key by its id."""
        return _find(self._keys.value, key_id)

    def look(self) -> None:
        """Read the file again where it has changed."""
        self._keys.look()


class FetchedKeys:
    """Keys of a URL, which is asked when they are old, and for an id that is not known, but not for each call."""

    def __init__(self, url: str) -> None:
        """Begin to fetch."""
        self._url = url
        self._keys: KeySet = {}
        self._is_known = False
        """Whether the last fetch succeeded."""
        self._lock = threading.Lock()
        self._fetching: Future[None] | None = None
        self._may_ask_at = 0.0
        self._refresh_at = 0.0
        self.look()

    @property
    def current(self) -> KeySet:
        """The keys that are known now."""
        return self._keys

    def find(self, key_id: str | None) -> VerifyingKey | None:
        """Return a key by its id; raises KeysAwaited and NotReady."""
        found = _find(self._keys, key_id)
        if found is not None:
            return found
        with self._lock:
            if self._fetching is None and time.monotonic() >= self._may_ask_at:
                self._begin()
            if self._fetching is not None:
                raise KeysAwaited(self._fetching)
        if not self._is_known:
            raise NotReady("the keys that tokens are checked with cannot be fetched; try again")
        return None

    def look(self) -> None:
        """Fetch the keys where they are old."""
        with self._lock:
            if self._fetching is None and time.monotonic() >= self._refresh_at:
                self._begin()

    def _begin(self) -> None:
        self._fetching = Future()
        threading.Thread(target=self._fetch, args=(self._fetching,), name="jwt-keys", daemon=True).start()

    def _fetch(self, fetched: "Future[None]") -> None:
        try:
            self._keys = parse_keys(_get(self._url))
        except Exception as error:  # noqa: BLE001 - such as what is no HTTP: else no key would ever be fetched again
            log.error("keys_not_fetched", what=SETTING, kept=len(self._keys), error=one_line(error))  # noqa: TRY400
            is_known, pause_s, refresh_s = False, FAILED_PAUSE_S, FAILED_PAUSE_S
        else:
            is_known, pause_s, refresh_s = True, PAUSE_S, REFRESH_S
        now = time.monotonic()
        with self._lock:
            self._is_known, self._fetching = is_known, None
            self._may_ask_at, self._refresh_at = now + pause_s, now + refresh_s
        fetched.set_result(None)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: it might lead away from TLS."""


def _get(url: str) -> bytes:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    with urllib.request.build_opener(*handlers).open(url, timeout=FETCH_S) as answer:
        contents: bytes = answer.read(MAX_BYTES)
    return contents


def _find(keys: KeySet, key_id: str | None) -> VerifyingKey | None:
    if key_id is None and len(keys) == 1:
        return next(iter(keys.values()))
    return None if key_id is None else keys.get(key_id)
