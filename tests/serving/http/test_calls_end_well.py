"""Calls over HTTP are finished when the service ends, and told when the process that answers them does."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import KINDS
from tests.support.http_calls import post
from tests.support.running import service, wait_until
from tests.support.versions import make_slow_version, make_version

LONG = np.random.default_rng(0).normal(0, 0.1, (4000, 4)).round(3).tolist()
"""Observations that take the slow policy about a second."""
SLOW = "/v1/policies/slow:act"


@pytest.mark.parametrize("kind", ["nghttp2", "two-processes"])
def test_a_call_in_hand_is_answered_when_the_service_ends(kind: str, tmp_path: Path) -> None:
    make_slow_version(1000).write(tmp_path / "policies" / "slow" / "1")
    options = ("--policies", str(tmp_path / "policies"), "--latency-budget", "10000")
    with service(*options, *KINDS[kind], folder=tmp_path) as running, ThreadPoolExecutor(1) as thread:
        wait_until(running.is_up, running.log)
        answer = thread.submit(post, running, SLOW, observation=LONG)
        begun = re.compile(r'^grpc_server_started_total{.*"Act".*} 1.0$', re.MULTILINE)
        wait_until(lambda: begun.search(running.metrics()) is not None, running.log)
        running.process.send_signal(signal.SIGTERM)
        assert len(answer.result().said["action"]) == len(LONG)
        assert running.process.wait(60) == 0


def test_a_worker_that_is_killed_fails_its_own_calls_and_others_answer(tmp_path: Path) -> None:
    make_version().write(tmp_path / "policies" / "cartpole" / "1")
    options = ("--policies", str(tmp_path / "policies"), "--workers", "2")
    with service(*options, folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        pids = re.findall(r"event=worker_up worker=\d pid=(\d+)", running.log.read_text())
        os.kill(int(pids[0]), signal.SIGKILL)
        statuses = [post(running, "/v1/policies/cartpole:act", observation=[0, 0, 0, 0]).status for _ in range(50)]
        assert set(statuses) <= {200, 503}
        assert statuses[-1] == 200
        os.kill(int(pids[1]), signal.SIGKILL)
        wait_until(lambda: running.log.read_text().count("event=worker_up") == 4, running.log)
        answer = post(running, "/v1/policies/cartpole:act", observation=[0, 0, 0, 0])
        assert (answer.status, answer.said["version"]) == (200, "1")
