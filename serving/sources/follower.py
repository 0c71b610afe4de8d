"""The child process that follows an MLflow registry; the only module of `serving` that imports mlflow.

It polls the aliases, downloads versions into the cache, and tags them with how their rollout ended. It ends when its
standard input does, which is when the service ends.
"""

import fcntl
import json
import queue
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import structlog
from mlflow import MlflowClient, artifacts, set_tracking_uri
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from protos.names import MODEL_FILE, POLICY_NAME, POLICY_TAG, SHA256_TAG
from serving.errors import one_line
from serving.logs import configure_logs
from serving.sources.mlflow import FollowerConfig

ROLLOUT_TAG = "polserve.rollout."
LIVE_FILE = "live.json"
LOCK_FILE = ".lock"
PARTIAL = ".download-"
MAX_TAG_LENGTH = 500
PAGE = 100

LOCK_TIMEOUT_S = 5.0
"""For another follower, which may be ending, to let go of the cache."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reference:
    """A version that an alias names."""

    policy: str
    version: str
    sha256: str
    """Of model.onnx, as registered."""


References: TypeAlias = dict[str, dict[str, Reference]]
"""By policy and alias."""


class Follower:
    """Reads what a registry's aliases name, and keeps the named versions in the cache."""

    def __init__(self, config: FollowerConfig) -> None:
        self._config = config
        set_tracking_uri(config.tracking_uri)
        self._client = MlflowClient()
        self._cache = Path(config.cache_dir)
        self._hashes: dict[Path, str] = {}
        self._downloaded: set[Reference] = set()
        self._good = self._read_good()
        self._desired = self._good
        self.problem = ""
        """What is wrong with single policies, though the registry answers; one line."""

    def last_good(self) -> References:
        """What was live when the service last said so, of what it is to follow now, where its file is still good."""
        kept = {
            policy: {alias: ref for alias, ref in refs.items() if alias in self._config.aliases and self._is_good(ref)}
            for policy, refs in self._good.items()
            if not self._config.policies or policy in self._config.policies
        }
        return {policy: refs for policy, refs in kept.items() if refs}

    def desired(self) -> References:
        """By policy and alias, the version to serve, after its download.

        A policy that cannot be had stays as it was, and `problem` says why.

        Raises:
            Exception: the registry does not answer.
        """
        problems = []
        desired: References = {}
        for name, model in self._models().items():
            try:
                desired[name] = self._references(name, model)
            except Exception as error:  # noqa: BLE001 - one bad policy must not keep the others from following
                problems.append(f"{name}: {one_line(error)}")
                if name in self._desired:
                    desired[name] = self._desired[name]
        self.problem = "; ".join(problems)
        self._desired = desired
        return desired

    def note(self, message: dict[str, Any]) -> None:
        """Remember what is live, and tag versions with how their rollout ended."""
        for verdict in message["verdicts"]:
            self._tag(verdict)
        self._remember(message["live"])

    def _tag(self, verdict: dict[str, str]) -> None:
        outcome = "refused" if verdict["reason"] else "live"
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        value = " ".join([outcome, moment, verdict["reason"]]).strip()[:MAX_TAG_LENGTH]
        key = ROLLOUT_TAG + self._config.service
        try:
            self._client.set_model_version_tag(verdict["policy"], verdict["version"], key, value)
        except Exception as error:  # noqa: BLE001 - a registry that is down, or may only be read, never fails a rollout
            log.warning("rollout_not_tagged", error=one_line(error), **verdict)

    def _models(self) -> dict[str, RegisteredModel | None]:
        """The models to follow, by name; None for one that does not exist."""
        if self._config.policies:
            return {name: self._model(name) for name in self._config.policies}
        models: list[RegisteredModel] = []
        token = None
        while True:
            page = self._client.search_registered_models(max_results=PAGE, page_token=token)
            models += [model for model in page if POLICY_TAG in model.tags]
            token = page.token
            if not token:
                return {model.name: model for model in models}

    def _model(self, name: str) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise

    def _references(self, name: str, model: RegisteredModel | None) -> dict[str, Reference]:
        if model is None:
            raise LookupError(f"there is no registered model {name!r}")
        if not POLICY_NAME.fullmatch(name):  # it becomes the name of a folder
            raise ValueError(f"expected a name of letters, digits, '-', '_' and '.', got {name!r}")
        aliases = {alias: str(model.aliases[alias]) for alias in self._config.aliases if alias in model.aliases}
        refs = {version: self._fetch(name, version) for version in set(aliases.values())}
        return {alias: refs[version] for alias, version in aliases.items()}

    def _fetch(self, policy: str, version: str) -> Reference:
        sha256 = self._client.get_model_version(policy, version).tags.get(SHA256_TAG, "")
        ref = Reference(policy, version, sha256)
        # A cached version is used while it is the registered one: another store may have stood at this address.
        # What was downloaded and still differs is for the rollout to refuse, not to be downloaded at each poll.
        if ref not in self._downloaded and not self._is_good(ref):
            self._download(policy, version, self._cache / policy / version)
        self._downloaded.add(ref)
        return ref

    def _is_good(self, ref: Reference) -> bool:
        """Whether the cache holds the file that was registered."""
        return self._sha256(self._cache / ref.policy / ref.version / MODEL_FILE) == ref.sha256

    def _download(self, policy: str, version: str, folder: Path) -> None:
        """`folder` holds the complete version; it is never seen half-filled."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=self._cache) as partial:
            downloaded = artifacts.download_artifacts(f"models:/{policy}/{version}", dst_path=partial)
            if folder.exists():
                shutil.rmtree(folder)
                self._hashes.pop(folder / MODEL_FILE, None)
            Path(downloaded).rename(folder)
            Path(partial).mkdir(exist_ok=True)

    def _sha256(self, path: Path) -> str:
        if path not in self._hashes:
            try:
                with path.open("rb") as file:
                    self._hashes[path] = file_digest(file, "sha256").hexdigest()
            except OSError:
                return ""
        return self._hashes[path]

    def _remember(self, live: dict[str, dict[str, str]]) -> None:
        """Keep what is live as the last good state, and delete the versions that nothing names any more.

        A policy that is followed and of which nothing is live keeps its last good state.
        """
        known = {(ref.policy, ref.version): ref for ref in (*_all(self._good), *_all(self._desired))}
        good = {policy: refs for policy, refs in self._good.items() if policy in self._desired}
        for policy, aliases in live.items():
            refs = {alias: known[policy, version] for alias, version in aliases.items() if (policy, version) in known}
            if refs:
                good[policy] = refs
        self._good = good
        partial = self._cache / (LIVE_FILE + ".part")
        partial.write_text(json.dumps({name: {a: asdict(r) for a, r in refs.items()} for name, refs in good.items()}))
        partial.replace(self._cache / LIVE_FILE)
        named = {(ref.policy, ref.version) for ref in (*_all(good), *_all(self._desired))}
        for folder in self._cache.glob("[!.]*/*"):
            if folder.is_dir() and (folder.parent.name, folder.name) not in named:
                shutil.rmtree(folder, ignore_errors=True)
                self._hashes.pop(folder / MODEL_FILE, None)
        self._downloaded = {ref for ref in self._downloaded if (ref.policy, ref.version) in named}

    def _read_good(self) -> References:
        try:
            live = json.loads((self._cache / LIVE_FILE).read_text())
            return {name: {alias: Reference(**ref) for alias, ref in refs.items()} for name, refs in live.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _all(references: References) -> list[Reference]:
    return [ref for refs in references.values() for ref in refs.values()]


def run(config: FollowerConfig) -> None:
    """Follow until standard input ends."""
    sys.stdout = sys.stderr  # what a library prints must not reach the service
    cache = Path(config.cache_dir)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / LOCK_FILE).open("w") as lock:
        _lock(lock, cache)
        for leftover in cache.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        follower = Follower(config)
        if good := follower.last_good():
            _say(cache, good, {})
        _follow(follower, config)


def _follow(follower: Follower, config: FollowerConfig) -> None:
    inbox: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(inbox,), daemon=True).start()
    while True:
        try:
            desired = follower.desired()
            _say(Path(config.cache_dir), desired, {"is_up": True, "error": follower.problem})
        except Exception as error:  # noqa: BLE001 - whatever the registry does wrong, the service goes on
            _say(Path(config.cache_dir), None, {"is_up": False, "error": one_line(error)})
        if not _wait(inbox, follower, config.poll_interval_s):
            return


def _lock(lock: TextIO, cache: Path) -> None:
    """Hold the cache alone; two services would delete each other's versions."""
    until = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > until:
                error = f"another service uses the cache {cache}; set another --service or --cache-dir"
                _say(cache, None, {"is_up": False, "error": error})
                sys.exit(error)
            time.sleep(0.1)


def _wait(inbox: "queue.Queue[str | None]", follower: Follower, seconds: float) -> bool:
    """Handle what the service says for `seconds`; False when it said goodbye."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            line = inbox.get(timeout=left)
        except queue.Empty:
            return True
        if line is None:
            return False
        follower.note(json.loads(line))
    return True


def _read_lines(inbox: "queue.Queue[str | None]") -> None:
    for line in sys.stdin:
        inbox.put(line)
    inbox.put(None)


def _say(cache: Path, desired: References | None, registry: dict[str, Any]) -> None:
    """Tell the service what is desired, unless that is unknown, and how the registry does, if it was asked."""
    message: dict[str, Any] = {"registry": registry} if registry else {}
    if desired is not None:
        message["desired"] = {
            policy: {
                alias: {"version": ref.version, "folder": str(cache / policy / ref.version), "sha256": ref.sha256}
                for alias, ref in refs.items()
            }
            for policy, refs in desired.items()
        }
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]  # a pipe to the service
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    configure_logs()
    run(FollowerConfig(**json.loads(sys.stdin.readline())))
