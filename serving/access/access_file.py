"""The access file: whose tokens and certificates may do what. It holds hashes of tokens, and no token."""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from polserve.protos.shared.durable import new_file, sync_folder
from polserve.serving.access.callers import ROLES, Caller, Role, visible
from polserve.serving.errors import ConfigurationError
from polserve.serving.reloading import read_file

SETTING = "access"
TOKEN_PREFIX = "polserve_"  # noqa: S105 - by which scanners of secrets find a token that got lost
TOKEN_BYTES = 32
"""Random bytes of a token: nobody guesses them, so that a fast hash is enough."""

_NAME = re.compile(r"[^\s\"\\]{1,200}")
_SHA256 = re.compile("[0-9a-fA-F]{64}")
_KEYS = {
    "token": {"name", "sha256", "role", "policies", "expires"},
    "certificate": {"name", "role", "policies"},
}


@dataclass(frozen=True, slots=True)
class AccessList:
    """What an access file says."""

    tokens: Mapping[bytes, list[tuple[bytes, Caller]]] = field(default_factory=dict)
    """Digests of tokens with their callers, by the first bytes of the digest."""
    certificates: Mapping[str, Caller] = field(default_factory=dict)
    """Callers by a name in their certificate."""

    def caller_of_token(self, token: bytes) -> Caller | None:
        """Return whose token it is; None where it is nobody's.

        Digests are compared in constant time; the few bytes that choose what is compared say nothing of a token.
        """
        digest = hashlib.sha256(token).digest()
        found = None
        for known, caller in self.tokens.get(digest[:4], ()):
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def revoke_all_but(self, others: "AccessList") -> None:
        """Revoke the callers that another list does not have, or lets do something else."""
        ours = {digest: caller for bucket in self.tokens.values() for digest, caller in bucket}
        theirs = {digest: caller for bucket in others.tokens.values() for digest, caller in bucket}
        pairs = [(caller, theirs.get(digest)) for digest, caller in ours.items()]
        pairs += [(caller, others.certificates.get(name)) for name, caller in self.certificates.items()]
        for caller, other in pairs:
            if other is None or not caller.may_the_same(other):
                caller.is_revoked = True

    def caller_of_certificate(self, names: Iterable[str]) -> Caller | None:
        """Return whose certificate has one of these names; None where it is nobody's."""
        return next((self.certificates[name] for name in names if name in self.certificates), None)


def make_token() -> str:
    """Make a new token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def hash_of(token: str) -> str:
    """Return what an access file holds of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_access_file(path: Path, shown: Path | None = None) -> AccessList:
    """Read an access file, which errors call `shown`.

    Raises:
        ConfigurationError: it cannot be read, lets nobody in, or says something that has no meaning.
    """
    contents = read_file(SETTING, path)
    path = shown or path
    try:
        told = tomllib.loads(contents.decode())
    except ValueError as error:
        raise ConfigurationError(f"{SETTING}: expected TOML in {path}, got something else ({error})") from error
    if foreign := sorted(set(told) - set(_KEYS)):
        raise ConfigurationError(f"{SETTING}: expected [[token]] and [[certificate]] in {path}, got {foreign[0]!r}")
    tokens: dict[bytes, list[tuple[bytes, Caller]]] = {}
    names: set[str] = set()
    for entry in _entries(told, "token", path):
        caller, place = entry.caller(), entry.place
        digest = bytes.fromhex(entry.text("sha256", _SHA256, "64 hexadecimal digits, as `polserve token` writes"))
        if caller.name in names:
            raise ConfigurationError(f"{place}: expected a name that no other token has, got {caller.name!r}")
        if any(known == digest for known, _ in tokens.get(digest[:4], ())):
            raise ConfigurationError(
                f"{place}, sha256: expected that of a token that no other entry has, got another's"
            )
        names.add(caller.name)
        tokens.setdefault(digest[:4], []).append((digest, caller))
    certificates: dict[str, Caller] = {}
    for entry in _entries(told, "certificate", path):
        caller, place = entry.caller(), entry.place
        if caller.name in certificates:
            raise ConfigurationError(f"{place}: expected a name that no other certificate has, got {caller.name!r}")
        certificates[caller.name] = caller
    if not tokens and not certificates:
        raise ConfigurationError(f"{SETTING}: expected a [[token]] or a [[certificate]] in {path}, got neither")
    return AccessList(tokens, certificates)


def token_entry(name: str, token: str, role: str, policies: Iterable[str], expires: datetime | None) -> str:
    """Return the lines of an access file that let a token in.

    Raises:
        ConfigurationError: the name or a policy has characters that none may have.
    """
    policies = list(policies)
    for what, text in (("name", name), *(("policy", policy) for policy in policies)):
        if not _NAME.fullmatch(text):
            raise ConfigurationError(f"{what}: expected text without spaces, quotes and backslashes, got {text!r}")
    lines = ["[[token]]", f'name = "{name}"', f'sha256 = "{hash_of(token)}"', f'role = "{role}"']
    if policies:
        listed = ", ".join(f'"{policy}"' for policy in policies)
        lines.append(f"policies = [{listed}]")
    if expires is not None:
        lines.append(f"expires = {expires.isoformat(timespec='seconds')}")
    return "\n".join(lines) + "\n"


def add_token(path: Path, name: str, role: str, policies: Iterable[str], expires: datetime | None) -> str:
    """Make a token, add it to an access file and return it; whoever reads the file sees it whole or not at all.

    Raises:
        ConfigurationError: the file is none, has the name already, or cannot be written.
    """
    token = make_token()
    entry = token_entry(name, token, role, policies, expires)
    try:
        while not (_append(path, entry) if path.exists() else _create(path, entry)):
            pass  # another command was faster
    except OSError as error:
        reason = error.strerror or str(error)  # the error itself names a file that nobody has asked for
        raise ConfigurationError(f"{SETTING}: expected a file that can be written, got {path} ({reason})") from error
    return token


def _create(path: Path, entry: str) -> bool:
    """Make an access file of one entry; return False where there is one already."""
    with new_file(path, entry, 0o640) as new:
        read_access_file(new, path)
        if path.is_symlink():  # to nothing
            new.replace(path)
        else:
            try:
                path.hardlink_to(new)  # which fails where another command has made one meanwhile
            except FileExistsError:
                return False
            except OSError:  # some file systems have no such links
                new.replace(path)
        sync_folder(path.parent)
    return True


def _append(path: Path, entry: str) -> bool:
    """Add an entry to an access file; return False where another command has replaced the file meanwhile."""
    with path.open("r+" if os.access(path, os.W_OK) else "r") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return False
        before = file.read()
        text = f"{before.rstrip()}\n\n{entry}" if before.strip() else entry
        mode = path.stat().st_mode & 0o777 if before else 0o640
        with new_file(path, text, mode) as new:
            read_access_file(new, path)
            new.replace(path)
            sync_folder(path.parent)
    return True


@dataclass(frozen=True, slots=True)
class _Entry:
    """One table of an access file."""

    told: Mapping[str, Any]
    place: str
    """Where it stands, as errors say it."""

    def text(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        """Return a text that must be there; raises ConfigurationError."""
        value = self.told.get(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            got = "none" if value is None else "something else" if key == "sha256" else repr(value)
            raise ConfigurationError(f"{self.place}, {key}: expected {expected}, got {got}")
        return value

    def caller(self) -> Caller:
        """Return who the entry is about; raises ConfigurationError."""
        name = self.text("name", _NAME, "text without spaces, quotes and backslashes")
        return Caller(name, self._role(), visible(self._policies()), self._expires_at())

    def _role(self) -> Role:
        role = ROLES.get(str(self.told.get("role")))
        if role is None:
            got = repr(self.told["role"]) if "role" in self.told else "none"
            raise ConfigurationError(f"{self.place}, role: expected act, observe or none, in quotes, got {got}")
        return role

    def _policies(self) -> list[str] | None:
        policies = self.told.get("policies")
        if policies is None:
            return None
        if not isinstance(policies, list) or not all(isinstance(one, str) and one for one in policies):
            expected = 'names of policies such as ["cartpole", "maze-*"]'
            raise ConfigurationError(f"{self.place}, policies: expected {expected}, got {policies!r}")
        return policies

    def _expires_at(self) -> float:
        expires = self.told.get("expires")
        if expires is None:
            return float("inf")
        if not isinstance(expires, datetime) or expires.tzinfo is None:
            expected = "a time with its zone and without quotes, such as 2030-01-31T00:00:00Z"
            got = repr(expires) if isinstance(expires, str) else str(expires)
            raise ConfigurationError(f"{self.place}, expires: expected {expected}, got {got}")
        return expires.timestamp()


def _entries(told: Mapping[str, Any], kind: str, path: Path) -> list[_Entry]:
    """Return the tables of one kind; raises ConfigurationError."""
    tables = told.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(f"{SETTING}: expected [[{kind}]], in two brackets, in {path}, got another form")
    entries = [_Entry(table, f"{SETTING}: {path}, {kind} {i}") for i, table in enumerate(tables, 1)]
    for entry in entries:
        if foreign := sorted(set(entry.told) - _KEYS[kind]):
            raise ConfigurationError(f"{entry.place}: expected {', '.join(sorted(_KEYS[kind]))}, got {foreign[0]!r}")
    return entries
