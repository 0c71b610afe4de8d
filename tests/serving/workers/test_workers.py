import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import ClientError, PolicyClient
from polserve.serving.errors import ConfigurationError, RolloutRefused
from polserve.serving.processes.parent import ChildProcess
from polserve.serving.settings.settings import load_settings
from polserve.serving.versions import AcceptedVersion, Pace, VersionRef
from polserve.serving.workers.metrics_folder import LOCK_FILE, PREFIX, MetricsFolder
from polserve.serving.workers.supervisor import Supervisor
from tests.support.disks import small_disk
from tests.support.http2 import EPISODE, RawClient, framed
from tests.support.running import Running, polserve, service, wait_until
from tests.support.versions import make_version

START = framed(pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole")).SerializeToString())
END = framed(pb.EpisodeRequest(end=pb.EpisodeEnd()).SerializeToString())
OBSERVATION = np.zeros(4, np.float32)
TWO = ("--workers", "2", "--poll-interval", "0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of policies of the test's own."""
    make_version().write(tmp_path / "policies" / "cartpole" / "1")
    return tmp_path / "policies"


@contextmanager
def two_workers(folder: Path, tmp_path: Path) -> Iterator[Running]:
    with service("--policies", str(folder), *TWO, folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        yield running


def pids(running: Running) -> dict[str, int]:
    """The processes that answer, as the log tells."""
    found = re.findall(r"event=worker_up worker=(\d) pid=(\d+)", running.log.read_text())
    return {worker: int(pid) for worker, pid in found}


def promote(folder: Path, number: int) -> None:
    make_version(number).write(folder / f".{number}").rename(folder / "cartpole" / str(number))


class Load:
    """Threads that ask all the time, each on a connection of its own; what they were answered."""

    def __init__(self, target: str, n: int = 8) -> None:
        self.versions: Counter[str] = Counter()
        self.failures: list[ClientError] = []
        self.breaks = Counter[int]()
        """By thread, how often answers turned into failures: a lost connection fails until it is made again."""
        self.lock = threading.Lock()
        self._target = target
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(n)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        # Without retries, so that every failure is seen.
        with PolicyClient(self._target, timeout_s=30, options={"grpc.enable_retries": 0}) as client:
            is_broken = False
            while not self._stopped.is_set():
                try:
                    version = client.act("cartpole", OBSERVATION).version
                except ClientError as error:
                    with self.lock:
                        self.failures.append(error)
                        self.breaks[threading.get_ident()] += not is_broken
                    is_broken = True
                else:
                    with self.lock:
                        self.versions[version] += 1
                    is_broken = False


def test_after_the_switch_no_process_answers_with_the_old_version_and_no_call_fails(
    folder: Path, tmp_path: Path
) -> None:
    with two_workers(folder, tmp_path) as running:
        with Load(running.target) as load:
            for number in range(2, 7):
                promote(folder, number)
                wait_until(lambda number=number: running.ready()["policies"]["cartpole"]["champion"] == str(number))  # type: ignore[misc]
                with PolicyClient(running.target, connections=20) as client:
                    answers = {client.act("cartpole", OBSERVATION).version for _ in range(40)}
                assert answers == {str(number)}
        assert load.failures == []
        assert set(load.versions) == {"1", "2", "3", "4", "5", "6"}


def test_a_killed_process_loses_its_own_calls_only_and_is_replaced(folder: Path, tmp_path: Path) -> None:
    with two_workers(folder, tmp_path) as running:
        promote(folder, 2)
        wait_until(lambda: running.ready()["policies"]["cartpole"]["champion"] == "2")
        with Load(running.target) as load:
            wait_until(lambda: load.versions["2"] > 200)
            before = pids(running)
            os.kill(before["0"], signal.SIGKILL)
            wait_until(lambda: pids(running)["0"] != before["0"] and running.is_up(), running.log)
            seen = load.versions["2"]
            wait_until(lambda: load.versions["2"] > seen + 200)
        assert set(load.versions) == {"2"}, "the new process knows what is live"
        assert set(load.breaks.values()) <= {1}, "the connections of the killed process broke, and once"
        assert {error.code.name for error in load.failures} <= {"UNAVAILABLE"}
        assert pids(running)["1"] == before["1"]
        page = running.metrics()
        (count,) = re.findall(r'polserve_observations_total{policy="cartpole",version="2"} (\S+)', page)
        assert float(count) >= load.versions["2"], "what the killed process counted is not lost"


def test_one_page_tells_of_all_processes(folder: Path, tmp_path: Path) -> None:
    with two_workers(folder, tmp_path) as running, PolicyClient(running.target, connections=30) as client:
        for _ in range(90):
            client.act("cartpole", OBSERVATION)
        page = running.metrics()
        assert 'polserve_observations_total{policy="cartpole",version="1"} 90.0' in page
        assert 'polserve_policy_info{alias="champion",policy="cartpole",run_id="run-0",version="1"} 1.0' in page
        assert 'polserve_rollouts_total{outcome="live",policy="cartpole"} 1.0' in page
        for worker in ("0", "1", "supervisor"):
            assert f'process_resident_memory_bytes{{worker="{worker}"}}' in page
        assert page.count("# TYPE process_cpu_seconds_total ") == 1


def test_a_bad_version_leaves_every_process_as_it_was(folder: Path, tmp_path: Path) -> None:
    with two_workers(folder, tmp_path) as running:
        bad = make_version(2).write(folder / ".2")
        (bad / "model.onnx").write_bytes(b"not a model")
        bad.rename(folder / "cartpole" / "2")
        wait_until(lambda: 'outcome="refused"' in running.metrics(), running.log)
        with PolicyClient(running.target, connections=20) as client:
            assert {client.act("cartpole", OBSERVATION).version for _ in range(40)} == {"1"}
        assert running.is_up()


def test_the_processes_end_when_their_supervisor_is_killed(folder: Path, tmp_path: Path) -> None:
    with two_workers(folder, tmp_path) as running:
        children = list(pids(running).values())
        running.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def test_a_port_that_another_service_holds_is_named(services: Callable[[str], Running], folder: Path) -> None:
    port = services("two-processes").target.rsplit(":", 1)[1]
    result = polserve("serve", "--policies", str(folder), "--workers", "2", "--grpc-port", port, "--http-port", "0")
    assert result.returncode == 1
    assert f"grpc-port: 127.0.0.1:{port} cannot be bound (Address already in use)" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.starts_processes
def test_a_version_that_no_process_lived_to_load_is_refused(folder: Path) -> None:
    supervisor = Supervisor(load_settings({"workers": 2, "grpc_port": 0}), CollectorRegistry(), 1.0)
    dead = ChildProcess("worker", "polserve.serving.workers.worker_process")
    dead.kill()
    supervisor._workers[0] = dead  # noqa: SLF001 - as when it dies after it was asked
    version = VersionRef("cartpole", "1", folder / "cartpole" / "1", make_version().sha256)
    with pytest.raises(RolloutRefused, match="every process that was to load it ended"):
        supervisor.prepare(AcceptedVersion(version, Pace(1e-5, 1e-5), ""))
    supervisor.drain(0)


def test_the_folder_of_metrics_of_a_killed_service_is_removed_by_the_next() -> None:
    held = MetricsFolder(1)
    left = held.path.with_name(f"{PREFIX}left")
    left.mkdir()
    (left / LOCK_FILE).touch()
    another = MetricsFolder(1)
    assert not left.exists()
    assert held.path.exists()
    for folder in (held, another):
        folder.remove()
        assert not folder.path.exists()


def test_the_folder_of_metrics_is_where_there_is_room_for_all_workers(tmp_path: Path) -> None:
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    with small_disk(tmp_path / "small", 1) as small:
        folder = MetricsFolder(2, (small, roomy))
        assert folder.path.parent == roomy
        assert list(small.iterdir()) == []
        with pytest.raises(ConfigurationError, match=r"workers: expected a folder with room for 3 MiB, .* got none: "):
            MetricsFolder(2, (small,))
        folder.remove()


def test_a_client_is_asked_to_connect_again_and_loses_no_call(policies: Path, tmp_path: Path) -> None:
    options = ("--policies", str(policies), "--workers", "2", "--connection-age", "1")
    with service(*options, folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        with RawClient(running.target) as raw, PolicyClient(running.target) as client:
            stream = raw.begin(EPISODE)
            raw.send(stream, START)
            until = time.monotonic() + 60
            while raw.goaway is None and time.monotonic() < until:
                assert client.act("cartpole", np.zeros(4)).version == "1"
                raw.pump(0.05)
            assert raw.goaway is not None
            assert raw.goaway.error_code == 0
            raw.send(stream, END)
            raw.take_until(lambda: len(raw.streams[stream].messages) == 2)
            assert len(raw.streams[stream].messages) == 2, "what is open is played to its end"
