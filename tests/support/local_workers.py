"""Workers for a rollout without a server, and a validator without a process."""

from polserve.serving.catalog import Catalog
from polserve.serving.loader import VersionLoader
from polserve.serving.rollout import Rollout
from polserve.serving.validation.acceptance import AcceptanceLimits, validate
from polserve.serving.versions import AcceptedVersion, LiveVersions, VersionRef
from polserve.serving.workers.epoch import LocalEpoch


class LoaderOnly:
    """Workers that are one version loader: nothing listens, and the catalog says what would answer."""

    def __init__(self, *aliases: str) -> None:
        self.epoch = LocalEpoch()
        self.catalog = Catalog(aliases, self.epoch)
        self.loader = VersionLoader(self.catalog)

    def prepare(self, version: AcceptedVersion) -> None:
        self.loader.prepare(version)

    def switch(self, live: LiveVersions) -> None:
        self.loader.stage(self.epoch.read() + 1, live)
        self.epoch.write(self.epoch.read() + 1)

    def rollout(self, *, is_list_fixed: bool = False) -> Rollout:
        """A rollout onto these workers that validates as the service does by default."""
        return Rollout(validate_here, self, is_list_fixed=is_list_fixed)


def validate_here(ref: VersionRef, live: VersionRef | None = None) -> AcceptedVersion:
    """What a validator of default settings finds, in this process."""
    return validate(ref, live, AcceptanceLimits())
