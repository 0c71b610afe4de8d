"""Records on this machine of versions that were withdrawn: a new start knows of them though no registry was told."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from polserve.protos.shared.durable import replace_file
from polserve.serving.errors import one_line
from polserve.serving.logs import Log
from polserve.serving.versions import RolloutResult

FOLDER = ".withdrawn"
"""Folder of the records, in the folder of the service's state."""

log = Log()


@dataclass(frozen=True, slots=True)
class WithdrawalRecord:
    """That a version was withdrawn for what it did."""

    policy: str
    version: str
    sha256: str
    """Checksum of its model.onnx: another model under the same number is another version."""
    at: str
    """When, in UTC, ISO 8601."""
    reason: str

    @classmethod
    def now(cls, result: RolloutResult) -> "WithdrawalRecord":
        """Make the record of a version that was just withdrawn."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(result.policy, result.version, result.sha256, moment, result.refusal or "")

    @property
    def text(self) -> str:
        """Since when the version is withdrawn, and why."""
        return f"since {self.at}, {self.reason}"


class WithdrawalRecords:
    """The records in a folder, a file for each version; what cannot be written now is kept in memory, and tried again.

    Whoever deletes a file has its version tried again. For any thread.
    """

    def __init__(self, state_folder: Path | None) -> None:
        """Read the records; without a folder for the service's state they last as long as this process."""
        self._folder = None if state_folder is None else state_folder / FOLDER
        self._records: dict[tuple[str, str], WithdrawalRecord] = {}
        self._unsaved: dict[tuple[str, str], WithdrawalRecord] = {}
        self._dropped: set[WithdrawalRecord] = set()
        """Those that count no more though their files could not be deleted."""
        self._unreadable: set[Path] = set()
        """Files that were logged as such."""
        self._lock = threading.Lock()
        self.look_again()

    def look_again(self) -> None:
        """Take note of files that were deleted, and try again to write those that could not be."""
        with self._lock:
            for key, record in list(self._unsaved.items()):
                if self._save(record) is None:
                    del self._unsaved[key]
            self._dropped = {record for record in self._dropped if self._delete(record) is not None}
            self._records = {**self._read(), **self._unsaved}

    def add(self, record: WithdrawalRecord) -> None:
        """Record that a version was withdrawn."""
        key = record.policy, record.version
        with self._lock:
            self._records[key] = record
            self._dropped.discard(record)
            problem = self._save(record)
            if problem is None:
                self._unsaved.pop(key, None)
                return
            self._unsaved[key] = record
        log.warning("withdrawal_not_saved", policy=record.policy, version=record.version, error=problem)

    def find(self, policy: str, version: str, sha256: str) -> WithdrawalRecord | None:
        """Return the record of a version; None where it is not withdrawn."""
        record = self._records.get((policy, version))
        return record if record is not None and record.sha256 == sha256 else None

    def of(self, policy: str) -> list[WithdrawalRecord]:
        """Return the records of a policy's versions."""
        return [record for record in self._records.copy().values() if record.policy == policy]

    def remedy(self, record: WithdrawalRecord) -> str:
        """Say how to have a version tried again that only a record keeps out of service."""
        if self._folder is None or not self.is_saved(record.policy, record.version):
            return "a new start tries it again"
        return f"to have it tried again, delete {_path(self._folder, record)}"

    def is_saved(self, policy: str, version: str) -> bool:
        """Return whether a new process would know of the version what this one does."""
        return (policy, version) not in self._unsaved

    def drop(self, policy: str, version: str) -> None:
        """Forget a version: it is to be tried again, or others keep the record."""
        with self._lock:
            self._unsaved.pop((policy, version), None)
            record = self._records.pop((policy, version), None)
            if record is not None and (problem := self._delete(record)) is not None:
                self._dropped.add(record)
                log.warning("withdrawal_not_forgotten", policy=policy, version=version, error=problem)

    def drop_others(self, policy: str, named: Mapping[str, str]) -> None:
        """Forget all versions of a policy but those that are `named`, by number, with the same checksum."""
        for record in self.of(policy):
            if named.get(record.version) != record.sha256:
                self.drop(record.policy, record.version)

    def _save(self, record: WithdrawalRecord) -> str | None:
        """Write a record; return why it cannot be, or None."""
        if self._folder is None:
            return "there is no folder for it; set --cache-dir"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(_path(self._folder, record), json.dumps(asdict(record)))
        except OSError as error:
            return one_line(error)
        return None

    def _delete(self, record: WithdrawalRecord) -> str | None:
        """Delete the file of a record; return why it cannot be, or None."""
        if self._folder is None:
            return None
        try:
            _path(self._folder, record).unlink(missing_ok=True)
        except OSError as error:
            return one_line(error)
        return None

    def _read(self) -> dict[tuple[str, str], WithdrawalRecord]:
        """Read every record that is in the folder; of what cannot be read now, what was known stays."""
        if self._folder is None:
            return {}
        known = {_path(self._folder, record): record for record in self._records.values()}
        try:
            paths = sorted(path for path in self._folder.iterdir() if path.match("[!.]*.json"))
        except FileNotFoundError:  # nothing was ever withdrawn
            return {}
        except OSError as error:
            self._tell_unreadable(self._folder, error)
            return self._records
        found = {}
        for path in paths:
            try:
                told = json.loads(path.read_text())
                record = WithdrawalRecord(**{field.name: str(told[field.name]) for field in fields(WithdrawalRecord)})
            except FileNotFoundError:  # deleted since it was listed
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._tell_unreadable(path, error)
                if not isinstance(error, OSError) or path not in known:
                    continue
                record = known[path]
            if record not in self._dropped:
                found[record.policy, record.version] = record
        return found

    def _tell_unreadable(self, path: Path, error: Exception) -> None:
        """Log once that a file or the folder cannot be read."""
        if path not in self._unreadable:
            self._unreadable.add(path)
            log.warning("withdrawal_unreadable", path=str(path), error=one_line(error))


def _path(folder: Path, record: WithdrawalRecord) -> Path:
    """Return the file of a record; the name of no policy has an '@'."""
    return folder / f"{record.policy}@{record.version}.json"
