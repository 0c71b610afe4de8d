"""A folder of policy versions as the source: of policies/<name>/<version>/ the highest version should be live."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from polserve.protos.shared.names import CHAMPION, GOLDEN_FILE, MODEL_FILE, POLICY_NAME
from polserve.protos.shared.signing import SIGNATURE_FILE
from polserve.serving.errors import ConfigurationError
from polserve.serving.logs import Log
from polserve.serving.sources.last_live import LastLive, LastVersion
from polserve.serving.sources.source import HistoryState, PolicyHistory, RegistryStatus
from polserve.serving.sources.withdrawal_records import WithdrawalRecord, WithdrawalRecords
from polserve.serving.versions import ByAlias, DesiredVersions, RolloutResult, VersionRef, every

log = Log()


class FolderSource:
    """The versions in a folder, followed as it changes.

    A policy or version may be copied in while the service runs: under a name that is none, such as .copying, and then
    renamed. Whatever else is there is not followed, and named in the log and on the pages.
    """

    def __init__(
        self, folder: Path, policies: Sequence[str], poll_interval_s: float, state_folder: Path | None = None
    ) -> None:
        """Follow `folder`: only the `policies` named, or all of them when none is.

        What is withdrawn, and what answered last, is recorded in `state_folder`; where there is none, only this process
        knows of it.

        Raises:
            ConfigurationError: there is no such folder, or it is that of one policy or version.
        """
        _check_level(folder)
        self._folder = folder
        self._policies = frozenset(policies)
        self._poll_interval_s = poll_interval_s
        self._closed = threading.Event()
        self._hashes: dict[tuple[Path, str], str] = {}
        self._desired: DesiredVersions = {}
        self._live: ByAlias[str] = {}
        """The versions that answer, as far as that was told."""
        self._ignored: tuple[str, ...] = ()
        self._withdrawals = WithdrawalRecords(state_folder)
        self._last_live = LastLive(state_folder)
        self._sha256: dict[tuple[str, str], str] = {}
        """Checksums of the versions that were desired, by policy and version."""

    def follow(self) -> Iterator[DesiredVersions]:
        """Yield the highest version of each policy, again whenever the folder changed.

        Where that one is withdrawn, the highest that is not comes first, so that it answers in its place. At a start,
        what answered last comes first: what is new has to prove good beside it.
        """
        is_first = True
        while True:
            before, self._desired = self._desired, self._read()
            newly = _withdrawn(self._desired) - _withdrawn(before)
            is_lacking = any(self._lacks(policy, version) for policy, version, _ in newly)
            good = self._desired
            if is_first:
                good = self._as_before(self._desired)
            elif is_lacking:
                good = self._last_good(self._desired)
            if good != self._desired:
                yield self._noted(good)
            if is_first or self._desired != before:
                is_first = False
                yield self._noted(self._desired)
            if self._closed.wait(self._poll_interval_s):
                return

    def _lacks(self, policy: str, version: str) -> bool:
        """Whether no version of a policy answers but for this one, which is withdrawn."""
        return self._live.get(policy, {}).get(CHAMPION, version) == version

    def desired_at_once(self) -> DesiredVersions:
        """Return the versions that `follow` will yield first, if nothing changes until then."""
        return self._as_before(self._read())

    def registry(self) -> RegistryStatus | None:
        """Return None: a folder has no registry."""
        return None

    def ignored(self) -> Sequence[str]:
        """Return what is in the folder and not followed, with what was expected in its place."""
        return self._ignored

    def history(self, policy: str) -> PolicyHistory:
        """Return that there is none: a folder keeps no record."""
        del policy
        return PolicyHistory(HistoryState.NONE)

    def tell(self, results: Sequence[RolloutResult], live: ByAlias[str]) -> None:
        """Record what was withdrawn and what is live; of all else a folder keeps no record."""
        self._live = live
        champions = {policy: aliases[CHAMPION] for policy, aliases in live.items() if CHAMPION in aliases}
        went_live = {(result.policy, result.version) for result in results if result.outcome == "live"}
        answering = {
            policy: LastVersion(version, self._sha256[policy, version])
            for policy, version in champions.items()
            if (policy, version) in self._sha256
            # What is desired under the number of a version that answers may be another model, which was refused.
            and ((policy, version) in went_live or not self._is_last(policy, version))
        }
        self._last_live.note(answering)
        for result in results:
            if result.is_final:
                self._withdrawals.add(WithdrawalRecord.now(result))

    def close(self) -> None:
        """Stop following."""
        self._closed.set()

    def _is_last(self, policy: str, version: str) -> bool:
        """Whether a version is recorded as the one that answered last."""
        last = self._last_live.find(policy)
        return last is not None and last.version == version

    def _read(self) -> DesiredVersions:
        """Read what should be live; of what cannot be read, what was before."""
        desired: dict[str, Mapping[str, VersionRef]] = {}
        ignored: list[str] = []
        self._withdrawals.look_again()
        try:
            folders = _visible(self._folder)
        except OSError as error:
            ignored.append(f"{self._folder}: cannot be read ({error.strerror}); what was live before stays")
            folders, desired = [], dict(self._desired)
        names = {folder.name for folder in folders}
        if names and (missing := sorted(self._policies - names)):
            asked, there = ", ".join(missing), ", ".join(sorted(names))
            ignored.append(f"{self._folder}: expected {asked}, as asked for, got {there}; correct --policy")
        for folder in folders:
            name = folder.name
            if self._policies and name not in self._policies:
                continue
            try:
                if versions := _versions(folder, ignored):
                    desired[name] = {CHAMPION: self._ref(name, versions[0])}
            except OSError as error:
                ignored.append(
                    f"{error.filename or folder}: cannot be read ({error.strerror}); what was live before stays"
                )
                desired |= {name: self._desired[name]} if name in self._desired else {}
        self._tell_ignored(ignored)
        return desired

    def _tell_ignored(self, ignored: Sequence[str]) -> None:
        """Log what is ignored, each once."""
        for line in ignored:
            if line not in self._ignored:
                path, _, reason = line.partition(": ")
                log.warning("ignored_in_folder", path=path, reason=reason)
        self._ignored = tuple(ignored)

    def _ref(self, policy: str, folder: Path) -> VersionRef:
        files = (folder / MODEL_FILE, folder / GOLDEN_FILE, folder / SIGNATURE_FILE)
        stamp = " ".join(f"{file.stat().st_mtime_ns}/{file.stat().st_size}" for file in files if file.exists())
        if (folder, stamp) not in self._hashes:
            self._hashes[folder, stamp] = hashlib.sha256(files[0].read_bytes()).hexdigest()
        ref = VersionRef(policy, folder.name, folder, self._hashes[folder, stamp], stamp)
        record = self._withdrawals.find(policy, ref.version, ref.sha256)
        if record is None:
            return ref
        return replace(ref, withdrawn=f"{record.text}; {self._withdrawals.remedy(record)}")

    def _noted(self, desired: DesiredVersions) -> DesiredVersions:
        """Remember the checksums of what is desired, for when it is live."""
        self._sha256 |= {(ref.policy, ref.version): ref.sha256 for ref in every(desired)}
        return desired

    def _as_before(self, desired: DesiredVersions) -> DesiredVersions:
        """Return what is desired, with what answered before this start in its place, as far as it is still there."""
        good = dict(self._last_good(desired))
        for name in desired:
            with contextlib.suppress(OSError):  # then there is nothing to compare with
                last = self._last_live.find(name)
                folder = self._folder / name / last.version if last else None
                if last is None or folder is None or not (folder / MODEL_FILE).is_file():
                    continue
                ref = self._ref(name, folder)
                if ref.sha256 == last.sha256 and not ref.withdrawn:
                    good[name] = {CHAMPION: ref}
        return good

    def _last_good(self, desired: DesiredVersions) -> DesiredVersions:
        """Return what is desired, with the highest version that is not withdrawn in place of each that is."""
        good = dict(desired)
        for name, refs in desired.items():
            if not refs[CHAMPION].withdrawn:
                continue
            with contextlib.suppress(OSError):  # nothing answers in its place then
                candidates = (self._ref(name, version) for version in _versions(self._folder / name, [])[1:])
                if (ref := next((ref for ref in candidates if not ref.withdrawn), None)) is not None:
                    good[name] = {CHAMPION: ref}
        return good


def _withdrawn(desired: DesiredVersions) -> set[tuple[str, str, str]]:
    """Return policy, version and checksum of what is desired and withdrawn."""
    return {(ref.policy, ref.version, ref.sha256) for ref in every(desired) if ref.withdrawn}


def _check_level(folder: Path) -> None:
    """Raise ConfigurationError where `folder` cannot hold policies."""
    expected = "policies: expected a folder of policies/<name>/<version>/"
    if not folder.is_dir():
        raise ConfigurationError(
            f"{expected}, got {folder}; set --policies, or MLFLOW_TRACKING_URI to follow a registry"
        )
    try:
        inside = _visible(folder)
        versions = [path.name for path in inside if path.name.isdecimal() and (path / MODEL_FILE).is_file()]
    except OSError as error:
        raise ConfigurationError(f"{expected}, got {folder}, which cannot be read ({error.strerror})") from error
    if (folder / MODEL_FILE).exists():
        raise ConfigurationError(f"{expected}, got {folder}, a version itself; give the folder two above it")
    if versions:
        raise ConfigurationError(
            f"{expected}, got {folder}, the folder of one policy with the versions {', '.join(versions)}; "
            f"give --policies {folder.parent} --policy {folder.name}"
        )


def _visible(folder: Path) -> list[Path]:
    """List what is in a folder, but for what is still being copied: its name begins with a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _versions(folder: Path, ignored: list[str]) -> list[Path]:
    """Return the folders of a policy's versions, the highest first; add to `ignored` what is no version."""
    if not folder.is_dir():
        ignored.append(f"{folder}: expected the folder of a policy, got another file")
        return []
    if not POLICY_NAME.fullmatch(folder.name):
        ignored.append(f"{folder}: expected a name of letters, digits, '-', '_' and '.'")
        return []
    versions = []
    for path in _visible(folder):
        if path.name == MODEL_FILE:
            ignored.append(f"{path}: expected it in the folder of a version, such as {folder / '1' / MODEL_FILE}")
        elif not path.name.isdecimal() or not path.is_dir():
            ignored.append(f"{path}: expected the folder of a version, whose name is a number")
        elif not (path / MODEL_FILE).is_file():
            ignored.append(f"{path}: expected {MODEL_FILE} in it")
        else:
            versions.append(path)
    if not versions and not any(line.startswith(f"{folder}/") for line in ignored):
        ignored.append(f"{folder}: expected a version in it, such as {folder / '1' / MODEL_FILE}")
    return sorted(versions, key=lambda path: int(path.name), reverse=True)
