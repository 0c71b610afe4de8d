"""A record, on this machine, of which versions of a folder answered last: a new start compares new ones with them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from polserve.protos.shared.durable import replace_file
from polserve.serving.errors import one_line
from polserve.serving.logs import Log

FILE = "live.json"
"""Name of the record, in the folder of the service's state."""

log = Log()


@dataclass(frozen=True, slots=True)
class LastVersion:
    """The version of a policy that answered last."""

    version: str
    sha256: str
    """Checksum of its model.onnx: another model under the same number is another version."""


class LastLive:
    """The record of what answered last, by policy; without a folder for it, it lasts as long as this process."""

    def __init__(self, state_folder: Path | None) -> None:
        """Read the record that an earlier process left in the folder of the service's state."""
        self._folder = state_folder
        self._problem = ""
        """Why the record could not be written or read the last time; it is logged when that changes."""
        self._live = {} if state_folder is None else self._read(state_folder / FILE)

    def find(self, policy: str) -> LastVersion | None:
        """Return the version of a policy that answered last; None where that is not known."""
        return self._live.get(policy)

    def note(self, live: Mapping[str, LastVersion]) -> None:
        """Record what answers now; of a policy that has nothing live, what was before stays."""
        after = {**self._live, **live}
        if after == self._live and not self._problem:
            return
        self._live = after
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({policy: asdict(one) for policy, one in after.items()})
            replace_file(self._folder / FILE, text)
        except OSError as error:
            self._tell("last_live_not_saved", error)
        else:
            self._problem = ""

    def _read(self, path: Path) -> dict[str, LastVersion]:
        try:
            told = json.loads(path.read_text())
            return {str(policy): LastVersion(str(one["version"]), str(one["sha256"])) for policy, one in told.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # A damaged record costs one comparison; the next note writes it anew.
            self._tell("last_live_unreadable", error)
            return {}

    def _tell(self, event: str, error: Exception) -> None:
        """Log once why the record cannot be used."""
        # NOTE: the text of an error of the system may hold the name of a file that is another one each time.
        problem = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
        if problem != self._problem:
            self._problem = problem
            log.warning(event, folder=str(self._folder), error=problem)
