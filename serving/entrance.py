"""What a process lets callers in by: its certificates and its guard, read again when their files change."""

from collections.abc import Callable

from polserve.serving.access.guard import Guard
from polserve.serving.audit import Audit, no_audit, open_audit
from polserve.serving.reloading import Looked, Lookout
from polserve.serving.settings.settings import Settings
from polserve.serving.tls import watched_certificates


class Entrance:
    """The entrance of one process, for all its ports."""

    def __init__(self, settings: Settings, count: Callable[[str], None]) -> None:
        """Read the files; `count` is called with the reason of each call that is denied.

        Raises:
            ConfigurationError: a file cannot be used.
        """
        self._audit_log = open_audit(settings.audit_log)
        self.audit: Audit = self._audit_log or no_audit
        """Takes note of who was denied, and of what else an auditor asks about."""
        self.guard = Guard(settings.access_rules, count, self.audit)
        """Knows who may call what."""
        files = settings.tls_files
        self.certificates = None if files is None else watched_certificates(files)
        """What encrypts connections; None for nothing."""
        watched: list[Looked] = [] if self.guard.is_open else [self.guard]
        self._lookout = Lookout(watched if self.certificates is None else [*watched, self.certificates])

    @property
    def stale(self) -> dict[str, bool]:
        """Whether what it was read from last cannot be used, so that what was read before counts, by what it is."""
        access = self.guard.is_stale
        found = {} if access is None else {"access": access}
        return found if self.certificates is None else {**found, "certificates": self.certificates.is_stale}

    @property
    def certificate_expires_at(self) -> float | None:
        """When the service's certificate expires, Unix time; None where there is none."""
        return None if self.certificates is None else self.certificates.value.expires_at

    def close(self) -> None:
        """Look at the files no more, and write what an audit log waits for."""
        self._lookout.close()
        if self._audit_log is not None:
            self._audit_log.close()
