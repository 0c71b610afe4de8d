"""What happens to the processes of a service: they are stopped, killed, and cannot be started."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from polserve.serving.client import PolicyClient
from tests.support.children import children_of, is_zombie
from tests.support.faults import faults
from tests.support.running import Running, environment, free_port, page, polserve, program, service, wait_until
from tests.support.versions import make_version

OBSERVATION = np.zeros(4, np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of policies of this module's own."""
    folder = tmp_path_factory.mktemp("faults") / "policies"
    make_version().write(folder / "cartpole" / "1")
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    """A service with two workers that soon notices their silence."""
    options = ("--policies", str(folder), "--workers", "2", "--poll-interval", "0.1", "--max-silence", "3")
    with service(*options, folder=folder.parent) as running:
        wait_until(running.is_up, running.log)
        yield running
        assert faults(running.log.read_text()) == []


def test_a_worker_that_is_stopped_is_noticed_and_replaced(running: Running) -> None:
    stopped = children_of(running.process.pid, "worker_process")[0]
    os.kill(stopped, signal.SIGSTOP)
    killed = f"worker process {stopped} gave no sign of life for 3 s and was killed"
    wait_until(lambda: killed in running.log.read_text(), running.log)
    wait_until(running.is_up, running.log)
    # On a busy machine the other one may have been silent for so long, too.
    assert re.search(r'^polserve_workers_ended_total{how="silent"} [1-9]', running.metrics(), re.MULTILINE)
    assert not is_zombie(stopped)
    with PolicyClient(running.target, connections=8) as client:
        assert {client.act("cartpole", OBSERVATION).policy for _ in range(16)} == {"cartpole"}


def test_a_validator_that_is_stopped_delays_a_version_and_does_not_refuse_it(running: Running, folder: Path) -> None:
    make_version(1).write(folder / ".2").rename(folder / "cartpole" / "2")
    wait_until(lambda: running.ready()["policies"] == {"cartpole": {"champion": "2"}}, running.log)
    (stopped,) = children_of(running.process.pid, "validator_process")
    os.kill(stopped, signal.SIGSTOP)
    make_version(2).write(folder / ".3").rename(folder / "cartpole" / "3")
    wait_until(lambda: running.ready()["policies"] == {"cartpole": {"champion": "3"}}, running.log)
    assert f"validator process {stopped} gave no sign of life for 3 s and was killed" in running.log.read_text()
    assert not is_zombie(stopped)


@contextlib.contextmanager
def first_of_a_container(log: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """What runs a service as the first process of a namespace, and the service's port of HTTP."""
    if os.getuid() != 0:
        pytest.skip("a namespace for processes takes root")
    code = "import os, sys; os.execvp('unshare', ['unshare', '--fork', '--pid', '--mount-proc', *sys.argv[1:]])"
    http_port = free_port()
    options = ("--grpc-port", "0", "--http-port", str(http_port))
    with program("-c", code, sys.executable, "-m", "polserve", "serve", *options, log=log) as process:
        yield process, http_port


def test_as_the_first_process_of_a_container_a_service_ends_while_it_starts(tmp_path: Path) -> None:
    with first_of_a_container(tmp_path / "log") as (process, _):
        wait_until(
            lambda: any(map(children_of, children_of(process.pid))), tmp_path / "log"
        )  # which are its first acts
        (first,) = children_of(process.pid)
        os.kill(first, signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.acceptance
def test_as_the_first_process_of_a_container_a_service_keeps_no_zombies_of_others(tmp_path: Path) -> None:
    with first_of_a_container(tmp_path / "log") as (process, http_port):
        wait_until(lambda: page(f"http://127.0.0.1:{http_port}/readyz")[0] == 200, tmp_path / "log")
        (first,) = children_of(process.pid)
        enter = ["/usr/bin/nsenter", "--target", str(first), "--pid", "sh", "-c", "sleep 1 &"]
        subprocess.run(enter, check=True, stdout=subprocess.DEVNULL)
        adopted = children_of(first, "sleep")
        assert len(adopted) == 1, "the service has become its parent"
        wait_until(lambda: not Path(f"/proc/{adopted[0]}").exists(), tmp_path / "log")
        assert page(f"http://127.0.0.1:{http_port}/readyz")[0] == 200


@pytest.mark.acceptance
def test_workers_that_can_never_start_end_the_service_with_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif any('worker_process' in argument for argument in sys.orig_argv):\n    os._exit(7)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ("--workers", "2", "--grpc-port", "0", "--http-port", "0")
    result = polserve("serve", "--policies", str(folder), *options, PYTHONPATH=path)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "error: workers: expected processes that answer calls, got none: each of the 2 worker processes failed 5 times "
        "in a row, as it started or soon after; the latest: worker process "
    )
    assert "has ended with exit code 7" in last
    assert "Traceback" not in result.stderr


def test_a_service_that_is_killed_leaves_no_process_even_where_one_was_stopped(folder: Path, tmp_path: Path) -> None:
    options = ("--policies", str(folder), "--workers", "2")
    with service(*options, folder=tmp_path, env=environment()) as running:
        wait_until(running.is_up, running.log)
        children = children_of(running.process.pid)
        assert len(children) >= 2
        os.kill(children[0], signal.SIGSTOP)
        running.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        with service(*options, "--grpc-port", running.target.rsplit(":", 1)[1], folder=tmp_path) as again:
            wait_until(again.is_up, again.log)
