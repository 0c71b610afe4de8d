"""Versions that were replaced: episodes keep them for a while, then their memory is free."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from polserve.serving.client import ClientError, PolicyClient
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_version

OBSERVATION = np.zeros(4, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_version().write(tmp_path / "policies" / "cartpole" / "1")
    return tmp_path / "policies"


@pytest.fixture
def running(folder: Path, tmp_path: Path) -> Iterator[Running]:
    options = ("--policies", str(folder), "--poll-interval", "0.1", "--retire-after", "1.5")
    with service(*options, folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        yield running


def replace_version(folder: Path, running: Running) -> None:
    make_version(1).write(folder / ".2").rename(folder / "cartpole" / "2")
    wait_until(lambda: running.ready()["policies"]["cartpole"]["champion"] == "2", running.log)


def is_unloaded(running: Running) -> bool:
    return "event=version_unloaded policy=cartpole version=1" in running.log.read_text()


def test_an_episode_keeps_a_replaced_version_for_a_bounded_time(folder: Path, running: Running) -> None:
    with PolicyClient(running.target) as client, client.episode("cartpole") as episode:
        assert episode.act(OBSERVATION).version == "1"
        replace_version(folder, running)
        assert episode.act(OBSERVATION).version == "1", "a switch changes no episode"
        wait_until(lambda: is_unloaded(running), running.log)
        with pytest.raises(ClientError, match=r"cartpole/1 was replaced more than 1.5 s ago and is unloaded; start a"):
            episode.act(OBSERVATION)
        with client.episode("cartpole") as another:
            assert another.act(OBSERVATION).version == "2"


def test_a_version_that_no_episode_plays_is_unloaded_when_it_is_replaced(folder: Path, running: Running) -> None:
    with PolicyClient(running.target) as client:
        with client.episode("cartpole") as episode:
            episode.act(OBSERVATION)
        replace_version(folder, running)
        assert client.act("cartpole", OBSERVATION).version == "2"
        wait_until(lambda: is_unloaded(running), running.log)
