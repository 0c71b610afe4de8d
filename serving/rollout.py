"""From what should be live to what is: verify, warm, replay golden, then swap or refuse."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from protos.names import ACTION, GOLDEN_FILE, MIN_GOLDEN, OBSERVATION, SHA256_TAG, TOLERANCE, VALUES
from serving.catalog import Catalog, LivePolicy
from serving.errors import RolloutRefused
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

        Returns:
            How the versions fared that were tried for the first time.
        """
        verdicts = [verdict for name, refs in desired.items() for verdict in self._roll(name, refs)]
        if not self._is_list_fixed:
            for name in self._catalog.live().keys() - desired.keys():
                self._catalog.remove(name)
                log.info("policy_removed", policy=name)
        return verdicts

    def _roll(self, name: str, refs: dict[str, VersionRef]) -> list[Verdict]:
        verdicts = []
        live = self._catalog.live().get(name, LivePolicy(name, {}, {}))
        versions = dict(live.versions)
        for ref in dict.fromkeys(refs.values()):
            if ref in self._refused or (ref.version in versions and versions[ref.version].sha256 == ref.sha256):
                continue
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
            self._refused.add(ref)
            log.warning("rollout_refused", policy=ref.policy, version=ref.version, reason=str(refusal))
            return Verdict(ref.policy, ref.version, str(refusal))
        versions[ref.version] = policy
        log.info("rollout_live", policy=ref.policy, version=ref.version, sha256=policy.sha256)
        return Verdict(ref.policy, ref.version, "")


def verify(ref: VersionRef) -> Policy:
    """The loaded version, after it has answered as the trainer's network did.

    Raises:
        RolloutRefused: it is not the file that was registered, no policy version, or answers otherwise.
    """
    policy = Policy.load(ref.policy, ref.version, ref.folder)
    if policy.sha256 != ref.sha256:
        raise RolloutRefused(
            f"sha256 of model.onnx: expected {ref.sha256 or f'a tag {SHA256_TAG}'}, got {policy.sha256}"
        )
    replay_golden(policy, _read_golden(ref.folder / GOLDEN_FILE))
    return policy


def replay_golden(policy: Policy, golden: dict[str, NDArray[Any]]) -> None:
    """`policy` answers the golden observations as the trainer's network did, one at a time and in a batch.

    Raises:
        RolloutRefused: it answers otherwise.
    """
    observations, expected = golden[OBSERVATION], golden[ACTION]
    if len(observations) < MIN_GOLDEN or len(expected) != len(observations):
        raise RolloutRefused(
            f"golden.npz: expected at least {MIN_GOLDEN} observations with as many actions, "
            f"got {len(observations)} and {len(expected)}"
        )
    try:
        first = policy.act(observations[:1])
        answer = policy.act(observations, with_values=True)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        raise RolloutRefused(f"the golden observations cannot be answered: {str(error).splitlines()[0]}") from error
    if first.actions.shape[1:] != expected.shape[1:] or answer.actions.shape != expected.shape:
        raise RolloutRefused(f"golden replay: expected actions {expected.shape}, got {answer.actions.shape}")
    if policy.n_actions is None:
        _compare("actions", answer.actions, expected)
        return
    if answer.values is not None and VALUES in golden:
        _compare("values", answer.values, golden[VALUES])
    is_other = answer.actions != expected
    if is_other.any() and VALUES in golden:
        best = np.sort(golden[VALUES], axis=1)[:, -2:]
        is_other &= best[:, 1] - best[:, 0] > _tolerance(golden[VALUES])
    if is_other.any():
        index = int(np.flatnonzero(is_other)[0])
        raise RolloutRefused(
            f"golden replay: {int(is_other.sum())} of {len(expected)} actions differ from the trainer's; "
            f"at observation {index}: expected {expected[index]}, got {answer.actions[index]}"
        )


def _read_golden(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Opened here, since numpy leaves a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            golden = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RolloutRefused(f"{path} cannot be read: {error}") from error
    if missing := {OBSERVATION, ACTION} - golden.keys():
        raise RolloutRefused(f"{path} lacks {', '.join(sorted(missing))}")
    return golden


def _compare(what: str, got: NDArray[Any], expected: NDArray[Any]) -> None:
    if got.shape != expected.shape:
        raise RolloutRefused(f"golden replay: expected {what} {expected.shape}, got {got.shape}")
    difference = float(np.abs(got.astype(np.float64) - expected).max())
    if not difference <= _tolerance(expected):  # NaN fails every comparison
        raise RolloutRefused(f"golden replay: {what} differ by {difference:.3g}, allowed is {_tolerance(expected):.3g}")


def _tolerance(expected: NDArray[Any]) -> float:
    return TOLERANCE * max(1.0, float(np.abs(expected).max()))
