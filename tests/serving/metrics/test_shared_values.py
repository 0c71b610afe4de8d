"""Metrics that several processes share take more room with every version, and no process ends where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from polserve.serving.workers.metrics_folder import RESERVED_BYTES, MetricsFolder
from tests.support.disks import small_disk

WORKER = """
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry, Counter, Histogram
from polserve.serving.metrics.shared_values import share_metrics

folder, n, label = Path(sys.argv[1]), int(sys.argv[2]), "x" * int(sys.argv[3])
share_metrics(0, folder)
registry = CollectorRegistry()
seconds = Histogram("seconds", "Time.", ("version", "more"), registry=registry)
actions = Counter("actions", "Actions.", ("version", "more"), registry=registry)
for version in map(str, range(n)):
    seconds.labels(version, label).observe(0.5)
    actions.labels(version, label).inc()
for version in map(str, range(n)):  # in all that it may write to, it can
    seconds.labels(version, label).observe(50.0)
"""


def count(folder: Path, n_versions: int, label_length: int = 1) -> str:
    """Have a worker count two observations and an action of so many versions; what it logs."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    arguments = [sys.executable, "-c", WORKER, str(folder), str(n_versions), str(label_length)]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    return done.stderr


def samples(folder: Path) -> dict[str, dict[str, float]]:
    """What the page says of each version, by the name of the sample; of buckets, those of all observations."""
    found: dict[str, dict[str, float]] = {}
    for metric in MultiProcessCollector(CollectorRegistry(), path=str(folder)).collect():
        for sample in metric.samples:
            if sample.labels.get("le", "+Inf") == "+Inf":
                found.setdefault(sample.labels["version"], {})[sample.name] = sample.value
    return found


def test_files_grow_with_the_versions_and_go_on_in_the_next_process(tmp_path: Path) -> None:
    folder = MetricsFolder(1, (tmp_path,))
    for n in (1, 2):
        assert count(folder.path, 400) == ""
        found = samples(folder.path)
        assert len(found) == 400
        wanted = {"seconds_bucket": 2.0 * n, "seconds_count": 2.0 * n, "seconds_sum": 50.5 * n, "actions_total": n}
        assert all(one == wanted for one in found.values())
    assert (folder.path / "histogram_0.db").stat().st_size > RESERVED_BYTES
    folder.remove()


@pytest.mark.parametrize(("n_versions", "label_length"), [(900, 1), (40, 9000)])
def test_a_full_disk_ends_no_process_and_leaves_out_whole_versions(
    tmp_path: Path, n_versions: int, label_length: int
) -> None:
    with small_disk(tmp_path / "disk", 2) as disk:
        folder = MetricsFolder(1, (disk,))
        log = count(folder.path, n_versions, label_length)
        assert log.count("histogram_0.db") == 1
        assert "event=metrics_full" in log
        assert "No space left on device" in log
        found = {version: one for version, one in samples(folder.path).items() if "seconds_sum" in one}
        assert 0 < len(found) < n_versions
        wanted = {"seconds_bucket": 2.0, "seconds_count": 2.0, "seconds_sum": 50.5}
        assert all(wanted.items() <= one.items() for one in found.values())
        assert count(folder.path, n_versions, label_length).count("histogram_0.db") == 1
        after = samples(folder.path)
        assert {version: after[version]["seconds_count"] for version in found} == dict.fromkeys(found, 4.0)
        folder.remove()


def test_versions_are_counted_again_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 3) as disk:
        folder = MetricsFolder(1, (disk,))
        filling = disk / "filling"
        filling.write_bytes(bytes(3 * 2**20 // 2))
        assert "event=metrics_full" in count(folder.path, 400)
        assert len(samples(folder.path)) == 400, "the file of counters has room yet"
        filling.unlink()
        assert count(folder.path, 400) == ""
        assert all("seconds_count" in one for one in samples(folder.path).values())
        folder.remove()
