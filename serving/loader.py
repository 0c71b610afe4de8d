"""The versions that this process has loaded, after another one has proven them, and stages to answer."""

import weakref
from collections.abc import Mapping

import structlog

from polserve.serving.batching import Batching
from polserve.serving.catalog import Catalog, LivePolicy
from polserve.serving.errors import PolserveError
from polserve.serving.policy import Policy
from polserve.serving.sources.source import Desired, VersionRef
from polserve.serving.validation.verification import load

log = structlog.get_logger()


class Shelf:
    """Loads versions for a catalog; one thread uses it."""

    def __init__(self, catalog: Catalog, batching: Batching = "auto") -> None:
        """Start empty."""
        self._catalog = catalog
        self._batching = batching
        self._policies = dict[VersionRef, Policy]()

    def prepare(self, ref: VersionRef) -> str:
        """The version is loaded; or why not."""
        if ref in self._policies:
            return ""
        try:
            policy = load(ref, self._batching)
        except PolserveError as refusal:
            return str(refusal)
        except Exception as error:
            log.exception("version_not_loaded", policy=ref.policy, version=ref.version)
            return f"unexpected {type(error).__name__}; the service's log has the details"
        self._policies[ref] = policy
        unloading = weakref.finalize(policy, log.info, "version_unloaded", policy=ref.policy, version=ref.version)
        unloading.atexit = False
        return ""

    def stage(self, epoch: int, live: Desired) -> str:
        """`live` will answer when the epoch reaches this number, and all else is forgotten; or why it cannot."""
        wanted = {ref for refs in live.values() for ref in refs.values()}
        reasons = [reason for reason in map(self.prepare, wanted) if reason]
        if not reasons:
            self._catalog.stage(epoch, {name: self._live_policy(name, refs) for name, refs in live.items()})
            self._policies = {ref: policy for ref, policy in self._policies.items() if ref in wanted}
        return "; ".join(reasons)

    def _live_policy(self, name: str, refs: Mapping[str, VersionRef]) -> LivePolicy:
        return LivePolicy(
            name,
            versions={ref.version: self._policies[ref] for ref in refs.values()},
            aliases={alias: ref.version for alias, ref in refs.items()},
        )
