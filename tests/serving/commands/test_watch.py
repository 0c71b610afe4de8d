import contextlib
import math
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import pytest

from polserve.serving.client import ClientError, PolicyClient
from polserve.serving.commands.counting import Counter, quantile, read_series
from polserve.serving.commands.pages import Pages
from polserve.serving.commands.watch import metrics_page
from tests.support.running import Running, environment, wait_until


def answered(running: Running) -> float:
    """Observations that the first version of CartPole has answered."""
    counted = read_series(running.metrics()).get("polserve_observations_total", {})
    return counted.get((("policy", "cartpole"), ("version", "1")), 0.0)


def returns(running: Running) -> tuple[float, float]:
    """Number and sum of the returns of its episodes; those of tests that used the service before are among them."""
    counted = read_series(running.metrics())
    its = (("policy", "cartpole"), ("version", "1"))
    parts = counted.get("polserve_episode_return_parts_total", {})
    gained, lost = (parts.get((*its[:1], ("sign", sign), *its[1:]), 0.0) for sign in "+-")
    return counted.get("polserve_episode_return_count", {}).get(its, 0.0), gained - lost


def n_open_episodes(running: Running) -> float:
    return sum(read_series(running.metrics())["polserve_episodes_active"].values())


@pytest.mark.parametrize("address", ["localhost:8080", "http://localhost:8080/", "http://localhost:8080/metrics"])
def test_the_metrics_page_may_be_written_short(address: str) -> None:
    assert metrics_page(address) == "http://localhost:8080/metrics"


def test_what_is_counted_is_what_was_answered(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until(lambda: n_open_episodes(running) == 0)  # those of tests before this one
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    counter = Counter(Pages(f"{running.http_url}/metrics"))
    assert counter.rates() is None, "one look tells no rate"
    monkeypatch.delenv("http_proxy")
    before = answered(running)
    n_returns, sum_of_returns = returns(running)
    with PolicyClient(running.target) as client:
        client.act("cartpole", [[0.0] * 4] * 7)
    assert answered(running) - before == 7
    with PolicyClient(running.target) as client, client.episode("cartpole") as episode:
        episode.act([0.0] * 4)
        episode.end(reward=-3.0)
        with pytest.raises(ClientError):
            client.act("go", [0])
    rates = counter.rates()
    assert rates is not None
    assert min(rates.calls, rates.errors) > 0
    median, late = rates.call_s
    assert median is not None and late is not None  # noqa: PT018 - for the type checker
    assert 0 < median <= late
    version = rates.versions["cartpole", "1"]
    assert version.observations > 0
    assert version.model_s[0] is not None
    assert version.mean_return == pytest.approx((sum_of_returns - 3.0) / (n_returns + 1))


@pytest.mark.parametrize(
    ("part", "expected"), [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 2.0), (0.9, 2.0), (1.0, 2.0)]
)
def test_a_quantile_is_estimated_inside_its_bucket(part: float, expected: float) -> None:
    assert quantile([(1.0, 4.0), (2.0, 6.0), (math.inf, 8.0)], part) == expected


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile([], 0.5) is None
    assert quantile([(1.0, 0.0), (math.inf, 0.0)], 0.5) is None


def test_where_there_are_no_metrics_it_is_said_how_to_name_them() -> None:
    counter = Counter(Pages("http://127.0.0.1:1/metrics"))
    assert counter.rates() is None
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
