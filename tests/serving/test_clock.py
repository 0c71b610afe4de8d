"""A service whose clock jumps, as after a machine slept or when its time is set."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from polserve.serving.client import ClientError, Credentials, PolicyClient
from tests.support.commands import polserve_here
from tests.support.faults import faults
from tests.support.running import Running, environment, service, wait_until
from tests.support.versions import make_version

OBSERVATION = np.zeros(4, np.float32)
CLOCK = """
import os, time
true_time, shown = time.time, os.environ["CLOCK"]

def shifted():
    with open(shown) as file:
        return true_time() + float(file.read() or 0)

time.time = shifted
time.time_ns = lambda: int(shifted() * 1e9)
"""
"""What lets all processes of a service see the time of day that a file says; no duration may be taken by that.

NOTE: Debian's faketime cannot be used here: with it, Python's time.sleep fails.
"""


@dataclass(frozen=True)
class Clocked:
    """A service, and the file that says how far its clock is off."""

    running: Running
    clock: Path
    policies: Path
    token: str

    def jump(self, by_s: float) -> None:
        """Let the clock be off by so much from now on."""
        new = self.clock.with_suffix(".new")
        new.write_text(str(by_s))
        new.replace(self.clock)


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Clocked]:
    """A service with two workers, and a token that is valid for two days."""
    policies, clock, access = tmp_path / "policies", tmp_path / "clock", tmp_path / "access.toml"
    make_version().write(policies / "cartpole" / "1")
    clock.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    token = polserve_here("token", "robot", "--access", str(access), "--days", "2").stdout.strip()
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ("--policies", str(policies), "--workers", "2", "--poll-interval", "0.1", "--access", str(access))
    with service(*options, folder=tmp_path, env=environment(CLOCK=str(clock), PYTHONPATH=path)) as running:
        wait_until(running.is_up, running.log)
        yield Clocked(running, clock, policies, token)


def test_a_clock_that_jumps_ends_no_call_no_episode_and_no_process(clocked: Clocked) -> None:
    running = clocked.running
    with (
        PolicyClient(running.target, credentials=Credentials(token=clocked.token)) as client,
        client.episode("cartpole") as episode,
    ):
        episode.act(OBSERVATION)
        for version, by_s in enumerate((86_400.0, -31_536_000.0, 0.0), start=2):
            clocked.jump(by_s)
            make_version(version).write(clocked.policies / ".new").rename(clocked.policies / "cartpole" / str(version))
            wait_until(lambda: client.act("cartpole", OBSERVATION).version == str(version), running.log)  # noqa: B023
            episode.act(OBSERVATION, reward=1.0)
    clocked.jump(3 * 86_400.0)
    with (
        PolicyClient(running.target, credentials=Credentials(token=clocked.token)) as client,
        pytest.raises(ClientError, match="expired"),
    ):
        client.act("cartpole", OBSERVATION)
    log = running.log.read_text()
    assert faults(log) == []
    assert "event=worker_ended" not in log
