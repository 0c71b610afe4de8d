"""From what should be live to what is: verify, warm, replay golden, then swap or refuse."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from protos.golden import Arrays, GoldenMismatch, compare
from protos.names import ACTION, GOLDEN_FILE, SHA256_TAG, VALUES
from serving.catalog import Catalog, LivePolicy
from serving.errors import RolloutRefused, one_line
from serving.policy import Policy
from serving.sources.source import Desired, Verdict, VersionRef

log = structlog.get_logger()


class Rollout:
    """Makes the catalog follow what a source desires; a bad version never replaces a good one."""

    def __init__(self, catalog: Catalog, *, is_list_fixed: bool) -> None:
        """Without a fixed list of policies, one that is no longer desired is taken out of service."""
        self._catalog = catalog
        self._is_list_fixed = is_list_fixed
        self._refused: set[VersionRef] = set()

    def apply(self, desired: Desired) -> list[Verdict]:
        """Everything desired that proves good is live; what is refused leaves the catalog as it was.

        A refused version is tried again only after its reference changed, or was not desired for a while.

        Returns:
            How the versions fared that were tried.
        """
        self._refused &= {ref for refs in desired.values() for ref in refs.values()}
        verdicts = [verdict for name, refs in desired.items() for verdict in self._roll(name, refs)]
        for name in self._catalog.live().keys() - desired.keys():
            if not self._is_list_fixed:
                self._remove(name)
        return verdicts

    def _roll(self, name: str, refs: Mapping[str, VersionRef]) -> list[Verdict]:
        live = self._catalog.live().get(name, LivePolicy(name, {}, {}))
        if not refs:  # the policy is there, and no alias names a version
            self._remove(name)
            return []
        versions = dict(live.versions)
        verdicts = []
        for ref in dict.fromkeys(refs.values()):
            is_live = ref.version in versions and versions[ref.version].sha256 == ref.sha256
            if not is_live and ref not in self._refused:
                verdicts.append(self._try(ref, versions))
        aliases = {}
        for alias, ref in refs.items():
            if ref.version in versions and ref not in self._refused:
                aliases[alias] = ref.version
            elif alias in live.aliases:
                aliases[alias] = live.aliases[alias]
        if aliases:
            kept = {version: policy for version, policy in versions.items() if version in aliases.values()}
            self._catalog.put(LivePolicy(name, kept, aliases))
            if aliases != live.aliases:
                log.info("aliases_switched", policy=name, **aliases)
        return verdicts

    def _try(self, ref: VersionRef, versions: dict[str, Policy]) -> Verdict:
        """Put the version among `versions` if it proves good; refuse it for good if not."""
        try:
            policy = verify(ref)
        except RolloutRefused as refusal:
            reason = str(refusal)
        except Exception as error:
            log.exception("rollout_failed", policy=ref.policy, version=ref.version)
            reason = f"unexpected {type(error).__name__}; the service's log has the details"
        else:
            versions[ref.version] = policy
            log.info("rollout_live", policy=ref.policy, version=ref.version, sha256=policy.sha256)
            return Verdict(ref.policy, ref.version, "")
        self._refused.add(ref)
        log.warning("rollout_refused", policy=ref.policy, version=ref.version, reason=reason)
        return Verdict(ref.policy, ref.version, reason)

    def _remove(self, name: str) -> None:
        if name in self._catalog.live():
            self._catalog.remove(name)
            log.info("policy_removed", policy=name)


def verify(ref: VersionRef) -> Policy:
    """The loaded version, after it has answered as the trainer's network did, one by one and in batches.

    Raises:
        RolloutRefused: it is not the file that was registered, no policy version, or answers otherwise.
    """
    policy = Policy.load(ref.policy, ref.version, ref.folder)
    if policy.sha256 != ref.sha256:
        wanted = ref.sha256 or f"a tag {SHA256_TAG}"
        raise RolloutRefused(f"sha256 of model.onnx: expected {wanted}, got {policy.sha256}")
    replay_golden(policy, _read_golden(ref.folder / GOLDEN_FILE))
    return policy


def replay_golden(policy: Policy, golden: Arrays) -> None:
    """`policy` answers the golden observations as the trainer's network did.

    Raises:
        RolloutRefused: it answers otherwise, or not at all.
    """

    def answer(observations: NDArray[Any]) -> Arrays:
        given = policy.act(observations, with_values=VALUES in golden)
        return {ACTION: given.actions} | ({VALUES: given.values} if given.values is not None else {})

    try:
        compare(answer, golden)
    except GoldenMismatch as mismatch:
        raise RolloutRefused(f"golden replay: {mismatch}") from mismatch
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        raise RolloutRefused(f"the golden observations cannot be answered: {one_line(error)}") from error


def _read_golden(path: Path) -> Arrays:
    try:
        # Opened here, since numpy leaves a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise a dozen unrelated classes
        raise RolloutRefused(f"{path} cannot be read: {one_line(error)}") from error
