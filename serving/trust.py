"""Whose versions a service takes: those that a key in a folder has signed."""

from pathlib import Path
from typing import TYPE_CHECKING

from polserve.protos.shared.signing import (
    KeyRefused,
    SignatureRefused,
    by_id,
    check_signature,
    key_files,
    read_public_key,
)
from polserve.serving.errors import ConfigurationError, RolloutRefused
from polserve.serving.logs import Log
from polserve.serving.reloading import Lookout, Reloaded
from polserve.serving.versions import VersionRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SETTING = "trusted-keys"

log = Log()


class Trust:
    """The trusted keys, read again when their folder changes."""

    def __init__(self, folder: Path) -> None:
        """Read the keys.

        Raises:
            ConfigurationError: a file holds none, or there is none.
        """
        self.on_change: Callable[[], None] = lambda: None
        """Called after the keys have changed."""
        self._folder = _KeyFolder(folder)
        self._keys = Reloaded(SETTING, [folder], self._folder.read)
        self._known = self._keys.value
        self._lookout: Lookout | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the folder is gone, or holds what is no key, so that what was there before counts."""
        return self._keys.is_stale or self._folder.has_others

    def start(self) -> None:
        """Begin to look whether the keys have changed."""
        self._lookout = Lookout([self])

    def look(self) -> None:
        """Take in keys that have changed."""
        self._keys.look()
        if self._keys.value is not self._known:
            self._known = self._keys.value
            self.on_change()

    def check(self, ref: VersionRef) -> None:
        """Return if a trusted key has signed a version.

        Raises:
            RolloutRefused: none has, or its files were changed since.
        """
        try:
            key = check_signature(ref.folder, ref.policy, self._keys.value)
        except SignatureRefused as refusal:
            raise RolloutRefused(str(refusal)) from refusal
        except OSError as error:
            raise RolloutRefused(f"{error.filename or ref.folder} cannot be read: {error.strerror}") from error
        log.info("signature_accepted", policy=ref.policy, version=ref.version, key=key)

    def close(self) -> None:
        """Look at the keys no more."""
        if self._lookout is not None:
            self._lookout.close()


class _KeyFolder:
    """A folder of public keys, and what each of its files held last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[Path, Ed25519PublicKey] | None = None
        self.has_others = False
        """Whether a file in it holds no key."""

    def read(self) -> "dict[str, Ed25519PublicKey]":
        """Return the keys by id.

        The first time, each file must hold one. From then on, what is taken away is trusted no longer, whatever else is
        in the folder: a file that holds no key, such as one that is half written, counts as what it held before.

        Raises:
            ConfigurationError: the folder cannot be read, or holds no key the first time.
        """
        try:
            paths = key_files(self._folder, may_be_empty=self._held is not None)
        except KeyRefused as refusal:
            raise ConfigurationError(f"{SETTING}: {refusal}") from refusal
        before, held, has_others = self._held or {}, {}, False
        for path in paths:
            try:
                held[path] = read_public_key(path)
            except KeyRefused as refusal:
                if self._held is None:
                    raise ConfigurationError(f"{SETTING}: {refusal}") from refusal
                log.error("not_reloaded", what=SETTING, kept="what the file held before", error=str(refusal))  # noqa: TRY400
                has_others = True
                if path in before:
                    held[path] = before[path]
        if not held:
            log.error("nobody_is_trusted", folder=str(self._folder))
        self._held, self.has_others = held, has_others
        return by_id(held.values())
