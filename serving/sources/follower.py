"""What follows an MLflow registry: reads its aliases, downloads versions, and records what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from polserve.protos.shared.alias_history import Move, extended, points_at
from polserve.protos.shared.names import CHAMPION, POLICY_NAME, SHA256_TAG
from polserve.serving.errors import RolloutRefused, one_line
from polserve.serving.logs import Log
from polserve.serving.sources.cache import VersionCache
from polserve.serving.sources.fetching import Fetcher
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.tagging import RolloutTags
from polserve.serving.sources.withdrawal_records import WithdrawalRecord, WithdrawalRecords
from polserve.serving.sources.withdrawals import Withdrawals
from polserve.serving.versions import ByAlias, DesiredVersions, RolloutResult, VersionRef, every

if TYPE_CHECKING:  # what was live before is known before mlflow is imported, which takes seconds
    from polserve.serving.sources.registry import Model, Registry

log = Log()


def last_good(config: FollowerConfig, cache: VersionCache) -> DesiredVersions:
    """Return what was live when the service last said so, of what is still to be followed and has sound files.

    What was withdrawn since then is left out.
    """
    records = WithdrawalRecords(Path(config.cache_dir))

    def may_serve(alias: str, ref: VersionRef) -> bool:
        is_withdrawn = records.find(ref.policy, ref.version, ref.sha256) is not None
        return alias in config.aliases and not is_withdrawn and cache.holds(ref)

    kept = {
        policy: {alias: ref for alias, ref in refs.items() if may_serve(alias, ref)}
        for policy, refs in cache.good.items()
        if not config.policies or policy in config.policies
    }
    return {policy: refs for policy, refs in kept.items() if refs}


class Follower:
    """The versions that a registry's aliases name, kept in the cache."""

    def __init__(self, config: FollowerConfig, registry: "Registry", cache: VersionCache) -> None:
        self._config = config
        self._registry = registry
        self._cache = cache
        self._fetcher = Fetcher(
            registry, cache, max_bytes=config.max_artifact_bytes, retry_s=2 * config.poll_interval_s
        )
        self._sha256: dict[tuple[str, str, int], str] = {}
        """Registered checksums, by policy, version and the time that the model was made; not of refused versions."""
        self._moves: dict[str, tuple[str, bool]] = {}
        """By policy, the champion that nobody had recorded at the last look, and whether this follower tried to."""
        self._fetched: dict[tuple[str, str], VersionRef] = {}
        """By policy and version, what the cache holds and was live or named when last told; it may go live yet."""
        self._before: dict[str, Mapping[str, VersionRef]] = {}
        """By policy, what was live before what is live now."""
        self._doubted: set[tuple[str, str]] = set()
        """Policies and versions that were refused, and may be signed yet."""
        self._records = WithdrawalRecords(Path(config.cache_dir))
        """Withdrawals that the registry was not told of yet."""
        self._withdrawals = Withdrawals(config.service, self._records)
        self._tags = RolloutTags(registry, config.service, self._records, retry_s=2 * config.poll_interval_s)
        self._desired = cache.good
        self.problem = ""
        """What is wrong with single policies, though the registry answers; one line."""

    def desired(self) -> DesiredVersions:
        """Ask the registry which versions to serve; each has its files in the cache, or says what its problem is.

        A policy that the registry says nothing sensible of stays as it was, and `problem` says why.

        Raises:
            Exception: the registry does not answer.
        """
        problems = []
        desired = {}
        self._records.look_again()
        for name, model in self._models().items():
            try:
                desired[name] = self._named(name, model)
            except Exception as error:  # noqa: BLE001 - one bad policy must not keep the others from following
                problems.append(f"{name}: {one_line(error)}")
                if name in self._desired:
                    desired[name] = self._desired[name]
        self.problem = "; ".join(problems)
        self._desired = desired
        self._fetcher.forget_all_but(every(desired))
        return desired

    def record(self, results: Sequence[RolloutResult], live: ByAlias[str]) -> None:
        """Remember what is live and what was withdrawn, and tag versions with how their rollout ended."""
        for result in results:
            version = (result.policy, result.version)
            if result.is_final:
                self._withdrawals.bad.add(version)
                self._records.add(WithdrawalRecord.now(result))
            if result.refusal is None:
                self._withdrawals.bad.discard(version)
                self._records.drop(*version)
                self._doubted.discard(version)
            else:
                self._doubted.add(version)
                # Its checksum may have been wrong, and be mended.
                self._sha256 = {key: sha for key, sha in self._sha256.items() if key[0] != result.policy}
        try:
            self._remember(live)
        except OSError as error:
            log.warning("last_good_not_saved", error=one_line(error))
        for result in results:  # last: a registry that hangs holds this up, and the service may be ended meanwhile
            self._tags.write(result)

    def has_kept(self, result: RolloutResult) -> bool:
        """Return whether another follower would know of a withdrawal that `record` was given."""
        return self._records.is_saved(result.policy, result.version)

    def _models(self) -> "dict[str, Model | None]":
        """Ask for the models to follow, by name; None for one that does not exist."""
        if self._config.policies:
            return {name: self._registry.model(name) for name in self._config.policies}
        return {model.name: model for model in self._registry.policies()}

    def _named(self, name: str, model: "Model | None") -> Mapping[str, VersionRef]:
        """Download what a model's aliases name; raises where there is nothing sensible to serve of it."""
        if model is None:
            raise LookupError(f"there is no registered model {name!r}")
        if not POLICY_NAME.fullmatch(name):  # it becomes the name of a folder
            raise ValueError(f"expected a name of letters, digits, '-', '_' and '.', got {name!r}")
        self._record_move(model)
        aliases = {alias: model.aliases[alias] for alias in self._config.aliases if alias in model.aliases}
        if self._config.policies and not aliases:
            wanted = ", ".join("@" + alias for alias in self._config.aliases)
            raise LookupError(f"no version has the alias {wanted}; what was live goes on")
        refs = {version: self._fetch(model, version) for version in set(aliases.values())}
        self._withdrawals.note_look(model, aliases.values())
        self._records.drop_others(name, {version: ref.sha256 for version, ref in refs.items()})
        self._tags.write_untold(name)
        return {alias: self._withdrawals.mark(model, refs[version]) for alias, version in aliases.items()}

    def _fetch(self, model: "Model", version: str) -> VersionRef:
        """Download a version; return its reference, with the problem where its files cannot be had."""
        key = (model.name, version, model.created)
        if key not in self._sha256:
            tags = self._registry.tags(model.name, version)
            self._withdrawals.read(model, version, tags)
            self._sha256[key] = tags.get(SHA256_TAG, "")
        ref = self._cache.ref(model.name, version, self._sha256[key])
        try:
            self._fetcher.fetch(ref)
        except RolloutRefused as refusal:
            del self._sha256[key]
            return replace(ref, problem=str(refusal))
        if self._config.is_signed:
            is_new = (ref.policy, ref.version) in self._doubted
            ref = replace(ref, stamp=self._fetcher.fetch_signatures(ref, is_new=is_new))
        self._fetched[ref.policy, ref.version] = ref
        return ref

    def _record_move(self, model: "Model") -> None:
        """Record a champion that was moved by hand, which is one that nobody recorded from one look to the next."""
        champion = model.aliases.get(CHAMPION)
        before, self._moves[model.name] = self._moves.get(model.name), (champion or "", False)
        if champion is None or points_at(model.history, champion) or before is None or before[0] != champion:
            return
        self._moves[model.name] = (champion, True)
        if before[1]:
            return
        move = Move.now(champion, f"seen by {self._config.service}")
        try:
            latest = self._registry.model(model.name)  # others write it too, and downloads may have taken a while
            if latest is not None and latest.aliases == model.aliases and not points_at(latest.history, champion):
                self._registry.write_history(model.name, extended(latest.history, move))
        except Exception as error:  # noqa: BLE001 - a registry that may only be read fails nothing
            log.warning("move_not_recorded", policy=model.name, version=champion, error=one_line(error))

    def _remember(self, live: ByAlias[str]) -> None:
        """Keep what is live as the last good state.

        A policy that is followed and of which nothing is live keeps its last good state.
        """
        known = {(ref.policy, ref.version): replace(ref, problem=None) for ref in every(self._cache.good)}
        known |= self._fetched
        good = {policy: refs for policy, refs in self._cache.good.items() if policy in self._desired}
        for policy, aliases in live.items():
            refs = {alias: known[policy, version] for alias, version in aliases.items() if (policy, version) in known}
            if refs:
                good[policy] = refs
        for policy, before in self._cache.good.items():
            if good.get(policy, before) != before:
                self._before[policy] = before  # which answer again where the new ones are withdrawn
        good = self._withdrawals.without(good)
        named = [*every(self._desired), *every(self._before)]
        self._cache.remember(good, named)
        kept = {(ref.policy, ref.version) for ref in (*every(good), *named)}
        self._fetched = {key: ref for key, ref in self._fetched.items() if key in kept}
