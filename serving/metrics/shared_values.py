"""Values of metrics in files that several processes share, and whose room is sure before it is written to.

prometheus-client maps each file into memory and lets it grow by a hole. Where the disk has no room for a page of that
hole, the kernel ends the process that writes to it with SIGBUS.
"""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.values import MutexValue

from polserve.serving.errors import one_line
from polserve.serving.logs import Log

SPARE_BYTES = 64 * 1024
"""Room that a file has left when a series is begun: a histogram takes 24 values, of some 200 bytes each."""
VALUES = 32
"""Values of the same labels that there must be room for, however long the labels are."""
USED_BYTES = 4
"""The first bytes of a file say how much of it is in use, as a number of the machine's byte order."""

Series: TypeAlias = tuple[str, tuple[str, ...]]

log = Log()


def share_metrics(index: int, folder: Path) -> None:
    """Keep metrics made from now on in files of worker `index`, where the one that it replaces has left its own.

    By the number of the process, as prometheus-client has it, each restart would leave files behind, to be read at
    every scrape; and it would look at each call whether the process is still the one that made the metric.
    """
    values.ValueClass = SharedValues(index, folder)


class SharedValues:
    """Makes the values of one worker's metrics, as prometheus-client's class of values does.

    Files grow with the series. A series for which the disk has no room is counted by the process alone, where nobody
    sees it, and the log says so.
    """

    def __init__(self, index: int, folder: Path) -> None:
        """Use the files of worker `index` in `folder`, which is also PROMETHEUS_MULTIPROC_DIR."""
        self._make = values.MultiProcessValue(lambda: index)
        self._index = index
        self._folder = folder
        self._files: dict[str, int] = {}
        """File descriptors, by kind of metric."""
        self._inherited: dict[str, set[str]] = {}
        """Keys of the values that the worker before has left in each file."""
        self._left_out: set[Series] = set()
        """Histograms for which there was no room."""
        self._full: set[str] = set()
        """Kinds of metrics of which the log has said that they do not grow."""
        self._lock = threading.Lock()

    def __call__(  # noqa: PLR0913, PLR0917 - as prometheus-client calls it
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
    ) -> object:
        """Make a value of a series, in the file where there is room."""
        kind = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
        key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
        is_bucket = name.endswith("_bucket")
        series = metric_name, tuple(labelvalues[:-1] if is_bucket else labelvalues)
        given = (typ, metric_name, name, labelnames, labelvalues, help_text)
        with self._lock:
            if self._has_room(kind, key, series, is_bucket=is_bucket):
                return self._make(*given, multiprocess_mode=multiprocess_mode)
            self._left_out.add(series)
        return MutexValue(*given)

    def _has_room(self, kind: str, key: str, series: Series, *, is_bucket: bool) -> bool:
        """Return whether a value may be kept in the file of its kind; make the file larger where that takes it."""
        if is_bucket and series in self._left_out:
            return False
        n_bytes = len(key.encode()) + 32  # with the number itself, its time, its length and padding
        try:
            file = self._file(kind)
            if key in self._inherited[kind]:
                return True
            used = int.from_bytes(os.pread(file, USED_BYTES, 0), sys.byteorder)
            if self._grow(kind, file, used + SPARE_BYTES + VALUES * n_bytes):
                return True
            return is_bucket and used + n_bytes <= os.fstat(file).st_size  # of a histogram that is begun
        except OSError as error:  # such as where the service ends, and the folder is gone
            self._tell(kind, error)
            return False

    def _grow(self, kind: str, file: int, wanted: int) -> bool:
        """Give a file room for so many bytes; return whether it has it.

        NOTE: its size stays a power of two times the first one, as prometheus-client doubles it.
        """
        before = size = os.fstat(file).st_size
        while size < wanted:
            size *= 2
        if size == before:
            return True
        try:
            os.posix_fallocate(file, before, size - before)
        except OSError as error:
            os.ftruncate(file, before)  # some file systems leave what there was room for
            self._tell(kind, error)
            return False
        self._full.discard(kind)
        return True

    def _tell(self, kind: str, error: OSError) -> None:
        """Log once that there is no more room."""
        if kind not in self._full:
            self._full.add(kind)
            log.warning("metrics_full", path=str(self._path(kind)), error=one_line(error))

    def _file(self, kind: str) -> int:
        if kind not in self._files:
            kept = MmapedDict.read_all_values_from_file(self._path(kind))
            self._inherited[kind] = {key for key, *_ in kept}
            self._files[kind] = os.open(self._path(kind), os.O_RDWR | os.O_CLOEXEC)
        return self._files[kind]

    def _path(self, kind: str) -> Path:
        return self._folder / f"{kind}_{self._index}.db"
