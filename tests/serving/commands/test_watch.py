import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import pytest

from polserve.serving.client import PolicyClient
from polserve.serving.commands.counting import Counter, observation_counts
from tests.support.running import Running, environment


@pytest.fixture(scope="session")
def options() -> tuple[str, ...]:
    """One kind of service is enough here."""
    return ()


def test_what_is_counted_is_what_was_answered(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    counter = Counter(f"{running.http_url}/metrics")
    assert counter.per_second() is None, "one look tells no rate"
    monkeypatch.delenv("http_proxy")
    before = observation_counts(running.metrics()).get(("cartpole", "1"), 0.0)
    with PolicyClient(running.target) as client:
        client.act("cartpole", [[0.0] * 4] * 7)
    assert observation_counts(running.metrics())["cartpole", "1"] - before == 7
    rates = counter.per_second()
    assert rates is not None
    assert rates["cartpole", "1"] > 0


def test_where_there_are_no_metrics_it_is_said_how_to_name_them() -> None:
    counter = Counter("http://127.0.0.1:1/metrics")
    assert counter.per_second() is None
    assert "no metrics at http://127.0.0.1:1/metrics" in counter.problem
    assert counter.problem.endswith("give their address with --metrics")


def read_on(terminal: int) -> None:
    """Read what comes, until the other end of the terminal is closed."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


def test_watch_shows_what_is_live_until_it_is_interrupted(running: Running) -> None:
    arguments = ("--target", running.target, "--metrics", f"{running.http_url}/metrics", "--interval", "0.1")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "polserve", "watch", *arguments],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment(TERM="xterm", COLUMNS="80"),
    ) as process:
        shown = b""
        while len(re.findall(rb"cartpole/1 +@champion +[0-9.]+\s", shown)) < 2:
            shown += os.read(ours, 65536)
        reader = threading.Thread(target=read_on, args=(ours,))
        reader.start()  # a terminal that nobody reads from would keep the command from its end
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert (process.returncode, said) == (0, b"")


def test_watch_that_is_piped_prints_each_look(running: Running) -> None:
    arguments = ("--target", running.target, "--metrics", f"{running.http_url}/metrics", "--interval", "0.1")
    command = [sys.executable, "-m", "polserve", "watch", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as process:
        assert process.stdout is not None
        looks = [line for line in (process.stdout.readline() for _ in range(12)) if line.startswith("cartpole/1")]
        process.send_signal(signal.SIGINT)
    assert len(looks) >= 2
