"""Whose versions a service takes: those that a key in a folder has signed."""

from pathlib import Path
from typing import TYPE_CHECKING

from polserve.protos.shared.signing import KeyRefused, SignatureRefused, check_signature, read_trusted_keys
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
        self._keys = Reloaded(SETTING, [folder], lambda: _read(folder))
        self._known = self._keys.value
        self._lookout: Lookout | None = None

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


def _read(folder: Path) -> "dict[str, Ed25519PublicKey]":
    try:
        return read_trusted_keys(folder)
    except KeyRefused as refusal:
        raise ConfigurationError(f"{SETTING}: {refusal}") from refusal
