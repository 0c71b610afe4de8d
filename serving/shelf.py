"""The versions that this process has loaded: proven, then staged to answer."""

from collections.abc import Mapping

import structlog

from serving.batching import Batching
from serving.catalog import Catalog, LivePolicy
from serving.errors import PolserveError
from serving.policy import Policy
from serving.sources.source import Desired, Trial, VersionRef
from serving.verification import verify

log = structlog.get_logger()


class Shelf:
    """Loads versions for a catalog; one thread uses it."""

    def __init__(self, catalog: Catalog, batching: Batching = "auto") -> None:
        """Start empty."""
        self._catalog = catalog
        self._batching = batching
        self._policies = dict[VersionRef, Policy]()

    def prepare(self, ref: VersionRef) -> Trial:
        """The version is loaded and proven; or why not."""
        try:
            policy = self._policies.get(ref) or verify(ref, self._batching)
        except PolserveError as refusal:
            return Trial(str(refusal))
        except Exception as error:
            log.exception("rollout_failed", policy=ref.policy, version=ref.version)
            return Trial(f"unexpected {type(error).__name__}; the service's log has the details")
        self._policies[ref] = policy
        return Trial("", policy.spec.provenance.run_id)

    def stage(self, epoch: int, live: Desired) -> str:
        """`live` will answer when the epoch reaches this number, and all else is forgotten; or why it cannot."""
        wanted = {ref for refs in live.values() for ref in refs.values()}
        reasons = [trial.reason for trial in map(self.prepare, wanted) if trial.reason]
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
