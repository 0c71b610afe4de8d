"""A service that is to end while it starts waits for nobody who has nothing to finish."""

import os
import signal
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from polserve.serving.settings.settings import load_settings
from polserve.serving.sources import registry_source
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.registry_source import RegistrySource
from polserve.serving.workers import supervisor as supervisor_module
from polserve.serving.workers.supervisor import Supervisor
from tests.support.children import children_of
from tests.support.running import wait_until

pytestmark = pytest.mark.starts_processes

FOR_EVER_S = 86_400.0
"""Longer than a test may take."""


def test_workers_that_do_not_come_up_hold_up_neither_start_nor_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "START_S", FOR_EVER_S)
    settings = load_settings({"grpc_port": 0, "workers": 2, "max_silence": 3600})
    supervisor = Supervisor(settings, CollectorRegistry(), FOR_EVER_S)
    is_ending = threading.Event()
    starting = threading.Thread(target=supervisor.start, args=(lambda _reason: None, is_ending.is_set), daemon=True)
    starting.start()
    stopped: set[int] = set()

    def are_stopped() -> bool:
        for pid in children_of(os.getpid(), "worker_process"):
            os.kill(pid, signal.SIGSTOP)
            stopped.add(pid)
        return len(stopped) == 2

    try:
        wait_until(are_stopped)
        assert supervisor.problem() == "no worker process is up"
    finally:
        is_ending.set()
        starting.join()
        supervisor.drain(FOR_EVER_S)
    assert not [pid for pid in stopped if Path(f"/proc/{pid}").exists()]


def test_a_follower_that_was_told_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_source, "END_TIMEOUT_S", FOR_EVER_S)
    config = FollowerConfig("http://127.0.0.1:1", (), ("champion",), 1.0, str(tmp_path), 2**30, "tests")
    source = RegistrySource(config, max_silence_s=FOR_EVER_S)
    source.warm_up()
    (child,) = children_of(os.getpid(), "follower_process")
    os.kill(child, signal.SIGSTOP)
    source.close()
    assert not Path(f"/proc/{child}").exists()
