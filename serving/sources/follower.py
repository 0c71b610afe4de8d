"""The child process that follows an MLflow registry; the only module of `serving` that imports mlflow.

It polls the aliases, downloads versions into the cache, and tags them with how their rollout ended. It ends when its
standard input does, which is when the service ends.
"""

import contextlib
import json
import queue
import re
import shutil
import sys
import tempfile
import threading
import time
from hashlib import file_digest
from pathlib import Path
from typing import Any, TypeAlias

from mlflow import MlflowClient, artifacts, set_tracking_uri
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from protos.names import MODEL_FILE, POLICY_TAG, SHA256_TAG
from serving.sources.mlflow import FollowerConfig

ROLLOUT_TAG = "polserve.rollout."
LIVE_FILE = "live.json"
MAX_TAG_LENGTH = 500
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""Of a policy that can be served."""
PAGE = 100

Reference: TypeAlias = dict[str, str]
"""The fields of a VersionRef but its policy."""
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
        self._downloaded: set[tuple[str, str, str]] = set()
        self._refs: dict[tuple[str, str], Reference] = {}
        self._desired: References = {}
        self.problem = ""
        """What is wrong with single policies, though the registry answers; one line."""

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
                problems.append(f"{name}: {_one_line(error)}")
                desired[name] = self._desired.get(name, {})
        self.problem = "; ".join(problems)
        self._desired = {name: refs for name, refs in desired.items() if refs}
        return self._desired

    def last_good(self) -> References:
        """What was live when the service last said so, from the cache alone."""
        try:
            live: References = json.loads((self._cache / LIVE_FILE).read_text())
        except (OSError, ValueError):
            return {}
        wanted = self._config.policies
        self._desired = {
            policy: {alias: ref for alias, ref in refs.items() if alias in self._config.aliases}
            for policy, refs in live.items()
            if not wanted or policy in wanted
        }
        self._refs = {(name, ref["version"]): ref for name, refs in live.items() for ref in refs.values()}
        return self._desired

    def note(self, message: dict[str, Any]) -> None:
        """Remember what is live, and tag versions with how their rollout ended."""
        self._remember(message["live"])
        for verdict in message["verdicts"]:
            outcome = "refused" if verdict["reason"] else "live"
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            value = " ".join([outcome, moment, verdict["reason"]]).strip()[:MAX_TAG_LENGTH]
            # A registry that is down, or may only be read, never fails a rollout.
            with contextlib.suppress(Exception):
                self._client.set_model_version_tag(
                    verdict["policy"], verdict["version"], ROLLOUT_TAG + self._config.service, value
                )

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
        if not NAME.fullmatch(name):  # it becomes the name of a folder
            raise ValueError(f"expected a name of letters, digits, '-', '_' and '.', got {name!r}")
        aliases = {alias: str(model.aliases[alias]) for alias in self._config.aliases if alias in model.aliases}
        refs = {version: self._fetch(name, version) for version in set(aliases.values())}
        return {alias: refs[version] for alias, version in aliases.items()}

    def _fetch(self, policy: str, version: str) -> Reference:
        sha256 = self._client.get_model_version(policy, version).tags.get(SHA256_TAG, "")
        folder = self._cache / policy / version
        # A cached version is used while it is the registered one: another store may have stood at this address.
        # What was downloaded and still differs is for the rollout to refuse, not to be downloaded at each poll.
        is_stale = self._sha256(folder / MODEL_FILE) != sha256 and (policy, version, sha256) not in self._downloaded
        if not folder.exists() or is_stale:
            self._download(policy, version, folder)
            self._downloaded.add((policy, version, sha256))
        ref = {"version": version, "folder": str(folder), "sha256": sha256}
        self._refs[policy, version] = ref
        return ref

    def _download(self, policy: str, version: str, folder: Path) -> None:
        """`folder` holds the complete version; it is never seen half-filled."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=self._cache) as partial:
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
        """Keep what is live as the last good state, and delete the versions that nothing names any more."""
        good: References = {
            policy: {
                alias: self._refs[policy, version]
                for alias, version in aliases.items()
                if (policy, version) in self._refs
            }
            for policy, aliases in live.items()
        }
        partial = self._cache / (LIVE_FILE + ".part")
        partial.write_text(json.dumps(good))
        partial.replace(self._cache / LIVE_FILE)
        named = {
            (policy, ref["version"])
            for references in (good, self._desired)
            for policy, refs in references.items()
            for ref in refs.values()
        }
        for folder in self._cache.glob("*/*"):
            if folder.is_dir() and (folder.parent.name, folder.name) not in named:
                shutil.rmtree(folder, ignore_errors=True)


def run(config: FollowerConfig) -> None:
    """Follow until standard input ends."""
    sys.stdout = sys.stderr  # what a library prints must not reach the service
    Path(config.cache_dir).mkdir(parents=True, exist_ok=True)
    follower = Follower(config)
    inbox: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(inbox,), daemon=True).start()
    is_first = True
    while True:
        try:
            desired = follower.desired()
            _say({"registry": {"is_up": True, "error": follower.problem}, "desired": desired})
        except Exception as error:  # noqa: BLE001 - whatever the registry does wrong, the service goes on
            message: dict[str, Any] = {"registry": {"is_up": False, "error": _one_line(error)}}
            if is_first:
                message["desired"] = follower.last_good()
            _say(message)
        is_first = False
        if not _wait(inbox, follower, config.poll_interval_s):
            return


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


def _say(message: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]  # a pipe to the service
    sys.__stdout__.flush()  # type: ignore[union-attr]


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__


if __name__ == "__main__":
    run(FollowerConfig(**json.loads(sys.argv[1])))
