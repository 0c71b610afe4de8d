"""A real Prometheus scrapes the service, and the documented queries have answers."""

import contextlib
import json
import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polserve.serving.client import PolicyClient
from tests.conftest import KINDS
from tests.support.running import ROOT, Running, environment, free_port, page, service, wait_until
from tests.support.versions import make_frames_version

pytestmark = pytest.mark.acceptance

DOCUMENT = ROOT / "docs" / "metrics.md"
QUERIES = re.findall(r"^```promql\n(.*?)\n```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


@contextmanager
def prometheus(running: Running, folder: Path) -> Iterator[str]:
    """A Prometheus that scrapes the service twice a second; the value is its address."""
    port = free_port()
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "450ms"},
        "scrape_configs": [
            {"job_name": "polserve", "static_configs": [{"targets": [running.http_url.removeprefix("http://")]}]}
        ],
    }
    (folder / "prometheus.json").write_text(json.dumps(config))  # which is YAML too
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.json'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment())
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: page(f"{url}/-/ready")[0] == 200, folder / "prometheus.log")
        yield url
    finally:
        process.kill()
        process.wait()


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """The series that a query gives."""
    status, text = page(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
    assert status == 200, text
    series: list[dict[str, Any]] = json.loads(text)["data"]["result"]
    return series


def value(url: str, query: str) -> float:
    """The one number that a query gives, or -1."""
    series = ask(url, query)
    return float(series[0]["value"][1]) if len(series) == 1 else -1.0


@pytest.fixture(scope="module", params=["nghttp2", "two-processes"])
def scraped(
    request: pytest.FixtureRequest, policies: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, str]]:
    """A service under some load of every kind, and the address of its Prometheus."""
    folder = tmp_path_factory.mktemp("scraped")
    with (
        service("--policies", str(policies), "--batching", "on", *KINDS[request.param], folder=folder) as running,
        prometheus(running, folder) as url,
        PolicyClient(running.target, connections=6) as client,
    ):
        wait_until(running.is_up, running.log)
        for _ in range(8):
            play(client)
            wait_until(lambda: value(url, "sum(up)") == 1)
        yield running, url


def play(client: PolicyClient) -> None:
    client.act("cartpole", np.zeros((50, 4), np.float32), epsilon=1.0)
    for _ in range(6):
        with client.episode("cartpole") as episode, client.episode("frames") as frames:
            for reward in (None, -3.0, -4.0):
                episode.act(np.zeros(4, np.float32), reward=reward)
                frames.act(make_frames_version().golden["observation"][0, 0], reward=None if reward is None else 2.0)
            episode.end(reward=-1.0)
            frames.end(reward=2.0)


def test_every_documented_query_has_an_answer(scraped: tuple[Running, str]) -> None:
    running, url = scraped
    with PolicyClient(running.target) as client, client.episode("cartpole") as episode:
        episode.act(np.zeros(4, np.float32))
        unanswered = {query for query in QUERIES if 'grpc_code!="OK"' not in query}  # which the next test asks

        def has_answers() -> bool:
            play(client)
            for query in list(unanswered):
                series = ask(url, query)
                if series and all(one["value"][1] != "NaN" for one in series):
                    unanswered.remove(query)
            return not unanswered

        with contextlib.suppress(AssertionError):
            wait_until(has_answers)
        assert not unanswered


def test_the_answers_are_right(scraped: tuple[Running, str]) -> None:
    running, url = scraped
    (returns,) = [query for query in QUERIES if "episode_return_parts" in query]
    (failures,) = [query for query in QUERIES if 'grpc_code!="OK"' in query]
    with PolicyClient(running.target) as client:

        def mean_returns() -> dict[str, float]:
            play(client)
            return {one["metric"]["policy"]: round(float(one["value"][1]), 3) for one in ask(url, returns)}

        wait_until(lambda: mean_returns() == {"cartpole": -8.0, "frames": 6.0}, running.log)

        def refused() -> set[tuple[str, str]]:
            with pytest.raises(Exception, match="NOT_FOUND"):
                client.act("go", [0])
            return {(one["metric"]["grpc_method"], one["metric"]["grpc_code"]) for one in ask(url, failures)}

        wait_until(lambda: ("Act", "NOT_FOUND") in refused(), running.log)
    (info,) = ask(url, 'polserve_policy_info{alias="champion",policy="cartpole"}')
    assert info["metric"]["version"] == "1"
    assert info["metric"]["run_id"] == "run-0"


def test_every_metric_is_documented(scraped: tuple[Running, str]) -> None:
    running, _ = scraped
    documented = DOCUMENT.read_text()
    families = re.findall(r"^# TYPE (\S+) ", running.metrics(), re.MULTILINE)
    assert len(families) > 15
    for family in families:
        assert family.startswith("process_") or f"`{family}`" in documented, family
