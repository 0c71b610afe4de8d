"""Workers that are this very process, for rollouts without a server."""

from polserve.serving.catalog import Catalog
from polserve.serving.errors import PolserveError
from polserve.serving.loader import Shelf
from polserve.serving.sources.source import Desired, Trial, VersionRef
from polserve.serving.validation.gate import Gate, prove
from polserve.serving.workers.epoch import LocalEpoch


class ShelfCrew:
    """A rollout's crew that is one shelf, without a server, and its prover, without a process."""

    def __init__(self, *aliases: str) -> None:
        self.epoch = LocalEpoch()
        self.catalog = Catalog(aliases, self.epoch)
        self.shelf = Shelf(self.catalog)

    def prove(self, ref: VersionRef, live: VersionRef | None) -> Trial:
        try:
            return Trial("", prove(ref, live, Gate()).spec.provenance.run_id)
        except PolserveError as refusal:
            return Trial(str(refusal))

    def prepare(self, ref: VersionRef) -> str:
        return self.shelf.prepare(ref)

    def switch(self, live: Desired) -> None:
        assert not self.shelf.stage(self.epoch.read() + 1, live)
        self.epoch.write(self.epoch.read() + 1)
