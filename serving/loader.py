"""The versions that a worker has loaded, after the validator accepted them, and stages to answer."""

import weakref
from collections.abc import Mapping

from polserve.serving.catalog import Catalog, CatalogEntry
from polserve.serving.errors import RolloutRefused
from polserve.serving.logs import Log
from polserve.serving.memory import give_back_memory
from polserve.serving.policy import Policy
from polserve.serving.versions import AcceptedVersion, LiveVersions, every

log = Log()


class VersionLoader:
    """Loads policies for a catalog and keeps them; one thread uses it."""

    def __init__(self, catalog: Catalog) -> None:
        """Start empty."""
        self._catalog = catalog
        self._policies = dict[AcceptedVersion, Policy]()

    def prepare(self, version: AcceptedVersion) -> None:
        """Load a version, unless that was done.

        Raises:
            RolloutRefused: it cannot be loaded.
        """
        if version in self._policies:
            return
        ref = version.ref
        try:
            policy = Policy.load_registered(ref, version.pace, is_accepted=True)
        except RolloutRefused:
            raise
        except Exception as error:
            log.exception("version_not_loaded", policy=ref.policy, version=ref.version)
            raise RolloutRefused(f"unexpected {type(error).__name__}; the service's log has the details") from error
        self._policies[version] = policy
        give_back_memory()  # loading takes twice what the model keeps
        unloading = weakref.finalize(policy, log.info, "version_unloaded", policy=ref.policy, version=ref.version)
        unloading.atexit = False

    def stage(self, epoch: int, live: LiveVersions) -> None:
        """Make `live` answer when the epoch reaches this number, and forget everything else.

        Raises:
            RolloutRefused: a version of it cannot be loaded; then nothing changes.
        """
        wanted = set(every(live))
        for version in wanted:
            self.prepare(version)
        self._catalog.stage(epoch, {name: self._entry(name, named) for name, named in live.items()})
        self._policies = {version: policy for version, policy in self._policies.items() if version in wanted}

    def _entry(self, name: str, named: Mapping[str, AcceptedVersion]) -> CatalogEntry:
        return CatalogEntry(
            name,
            versions={version.ref.version: self._policies[version] for version in named.values()},
            aliases={alias: version.ref.version for alias, version in named.items()},
        )
