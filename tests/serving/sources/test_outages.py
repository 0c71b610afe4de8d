"""A service whose registry, follower or cache fails."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.alias_history import HISTORY_TAG, points_at
from polserve.protos.shared.names import CHAMPION, SHA256_TAG
from polserve.training.registry.store import connect
from tests.support.children import children_of
from tests.support.disks import small_disk
from tests.support.following import answering, serve
from tests.support.proxy import Fault, Forward, Proxy, Request, Response, none, proxy, read_only, requiring
from tests.support.proxy import answering as answering_with
from tests.support.registry import copied
from tests.support.running import Running, free_port, wait_until

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


def test_a_policy_that_is_not_registered_is_named_in_readyz(mlflow_url: str, tmp_path: Path) -> None:
    with serve(mlflow_url, "never-trained", tmp_path) as running:
        wait_until(lambda: running.ready().get("registry") is not None, running.log)
        ready = running.ready()
    assert ready["ready"] is False
    assert ready["reason"] == "no version is live of never-trained"
    assert "there is no registered model 'never-trained'" in ready["registry"]["error"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose listener accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    held.append(listener.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        for connection in held:
            connection.close()


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", ["refusing", "hanging", "unknown to DNS"])
def test_a_dead_registry_at_the_start_is_reported_and_the_service_lives(
    tmp_path: Path, silent_port: int, kind: str
) -> None:
    hosts = {"refusing": f"127.0.0.1:{free_port()}", "hanging": f"127.0.0.1:{silent_port}"}
    url = f"http://{hosts.get(kind, 'registry.invalid:5000')}"
    with serve(url, "cartpole", tmp_path) as running:
        wait_until(lambda: running.ready().get("registry") is not None, running.log)
        ready = running.ready()
        assert ready["ready"] is False
        assert ready["registry"]["up"] is False
        assert "polserve_registry_up 0.0" in running.metrics()
        assert "event=registry_down" in running.log.read_text()


def test_the_last_good_version_is_served_from_the_cache_until_the_registry_returns(
    proxied: Proxy, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    with serve(proxied.url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
    proxied.fault = answering_with(503, "gone")
    with serve(proxied.url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        assert answering(running, policy) == "1"
        wait_until(lambda: "registry" in running.ready(), running.log)
        assert running.ready()["registry"]["up"] is False
        proxied.fault = none
        store.set_registered_model_alias(policy, CHAMPION, "2")
        wait_until(lambda: answering(running, policy) == "2", running.log)
        assert running.ready()["registry"]["up"] is True
        proxied.fault = answering_with(503, "gone again")
        wait_until(lambda: "polserve_registry_up 0.0" in running.metrics(), running.log)
        assert answering(running, policy) == "2", "an outage changes no answer"


@dataclass(frozen=True)
class Followed:
    """A service that follows a policy with two versions through a proxy, and outlives what these tests do to it."""

    running: Running
    proxied: Proxy
    policy: str
    cache: Path

    def move_alias(self) -> str:
        """Make the version champion that is not, past the proxy; return its number."""
        store = connect()
        number = "1" if store.get_model_version_by_alias(self.policy, CHAMPION).version == "2" else "2"
        store.set_registered_model_alias(self.policy, CHAMPION, number)
        return number


@pytest.fixture(scope="module")
def followed(mlflow_url: str, registered: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """A service that several of these tests share: starting one with its follower takes longer than they do."""
    with pytest.MonkeyPatch.context() as patch, proxy(mlflow_url) as proxied:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
        folder, name = tmp_path_factory.mktemp("followed"), "followed-through-outages"
        with copied(connect(), registered, name), serve(proxied.url, name, folder, "--max-silence", "3") as running:
            wait_until(lambda: running.ready()["ready"] is True, running.log)
            yield Followed(running, proxied, name, folder / "cache")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_follower_that_dies_or_is_stopped_is_started_again(followed: Followed, number: signal.Signals) -> None:
    running, followed.proxied.fault = followed.running, none
    before = running.log.read_text().count("event=follower_ended")
    for child in children_of(running.process.pid):
        os.kill(child, number)
    wait_until(lambda: running.log.read_text().count("event=follower_ended") > before, running.log)
    assert running.ready()["ready"] is True
    moved = followed.move_alias()
    wait_until(lambda: answering(running, followed.policy) == moved, running.log)


def test_a_champion_that_is_refused_does_not_cost_the_last_good_one_its_place(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    store.set_model_version_tag(policy, "2", SHA256_TAG, "0" * 64)
    with serve(mlflow_url, policy, tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        store.set_registered_model_alias(policy, CHAMPION, "2")
        wait_until(lambda: 'outcome="refused"' in running.metrics(), running.log)
    with serve(mlflow_url, policy, tmp_path) as running:  # and across a restart
        wait_until(lambda: 'outcome="refused"' in running.metrics(), running.log)
        assert answering(running, policy) == "1"


def test_a_second_service_on_one_cache_is_told_so_and_harms_nothing(followed: Followed, tmp_path: Path) -> None:
    before = answering(followed.running, followed.policy)
    with serve(followed.proxied.url, followed.policy, tmp_path, "--cache-dir", str(followed.cache)) as second:
        wait_until(lambda: "another service uses the cache" in second.log.read_text(), second.log)
        assert "event=cache_unusable" in second.log.read_text()
        assert "event=registry_down" not in second.log.read_text(), "nobody has asked it"
    assert answering(followed.running, followed.policy) == before


def test_a_damaged_cache_is_downloaded_again(mlflow_url: str, policy: str, tmp_path: Path) -> None:
    for _ in range(2):
        with serve(mlflow_url, policy, tmp_path) as running:
            wait_until(lambda: running.ready()["ready"] is True, running.log)
        (model,) = tmp_path.glob(f"cache/*/{policy}/1/model.onnx")
        model.write_bytes(model.read_bytes()[:100])


def hanging(_request: Request, _forward: Forward) -> Response:
    """Answers after half a minute, when nobody waits any more."""
    time.sleep(30)
    return Response(200, b"{}")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (answering_with(500, "oh no"), "500"),
        (answering_with(200, "<html>Welcome to the hotel</html>", "text/html"), "<html>"),
        (hanging, "timed out"),
        (requiring("Basic nobody"), "401"),
    ],
    ids=["500", "html", "slow", "401"],
)
def test_a_registry_that_answers_nonsense_or_nothing_changes_no_answer_until_it_is_well(
    followed: Followed, fault: Fault, error: str
) -> None:
    running, policy, followed.proxied.fault = followed.running, followed.policy, none
    wait_until(lambda: running.ready()["registry"]["up"] is True, running.log)
    before = answering(running, policy)
    followed.proxied.fault = fault
    wait_until(lambda: running.ready()["registry"]["up"] is False, running.log)
    ready = running.ready()
    assert ready["ready"] is True
    assert ready["registry"]["serving"] == "the last good versions"
    assert error in ready["registry"]["error"]
    assert "polserve_registry_up 0.0" in running.metrics()
    moved = followed.move_alias()
    assert answering(running, policy) == before != moved
    followed.proxied.fault = none
    wait_until(lambda: answering(running, policy) == moved, running.log)
    assert running.ready()["registry"]["up"] is True


def is_recorded(store: MlflowClient, policy: str, champion: str) -> bool:
    """Whether the policy's history says that this version is the champion."""
    return points_at(store.get_registered_model(policy).tags.get(HISTORY_TAG, ""), champion)


def test_a_registry_that_may_only_be_read_fails_no_rollout(store: MlflowClient, followed: Followed) -> None:
    running, policy, tag = followed.running, followed.policy, "polserve.rollout.tests"
    followed.proxied.fault = none
    wait_until(lambda: running.ready()["registry"]["up"] is True, running.log)
    champion = store.get_model_version_by_alias(policy, CHAMPION).version
    wait_until(lambda: is_recorded(store, policy, champion), running.log)  # by moves of tests before this one, too
    followed.proxied.fault = read_only
    untagged = running.log.read_text().count("event=rollout_not_tagged")
    moved = followed.move_alias()
    before = store.get_model_version(policy, moved).tags.get(tag)
    wait_until(lambda: answering(running, policy) == moved, running.log)
    wait_until(lambda: running.log.read_text().count("event=rollout_not_tagged") > untagged, running.log)
    wait_until(lambda: "event=move_not_recorded" in running.log.read_text(), running.log)
    assert running.ready()["registry"]["up"] is True
    assert store.get_model_version(policy, moved).tags.get(tag) == before


@pytest.mark.parametrize(
    ("variables", "authorization"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "polserve", "MLFLOW_TRACKING_PASSWORD": "secret"}, "Basic cG9sc2VydmU6c2VjcmV0"),
        ({"MLFLOW_TRACKING_TOKEN": "secret"}, "Bearer secret"),
    ],
    ids=["password", "token"],
)
def test_a_registry_that_asks_who_calls_is_told(
    proxied: Proxy, policy: str, tmp_path: Path, variables: dict[str, str], authorization: str
) -> None:
    proxied.fault = requiring(authorization)
    with serve(proxied.url, policy, tmp_path, **variables) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        assert answering(running, policy) == "1"
        assert "secret" not in running.log.read_text()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 24 MiB."""
    with small_disk(tmp_path / "disk", 24) as folder:
        yield folder


def test_a_full_disk_refuses_the_new_version_until_there_is_room(
    mlflow_url: str, policy: str, tmp_path: Path, disk: Path
) -> None:
    with serve(mlflow_url, policy, tmp_path, "--cache-dir", str(disk)) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        (disk / "filler").write_bytes(bytes(20 * 2**20))
        connect().set_registered_model_alias(policy, CHAMPION, "2")
        wait_until(lambda: "make room for --cache-dir" in running.log.read_text(), running.log)
        wait_until(lambda: f'outcome="refused",policy="{policy}"}} 1.0' in running.metrics(), running.log)
        assert answering(running, policy) == "1"
        (disk / "filler").unlink()
        wait_until(lambda: answering(running, policy) == "2", running.log)


def test_a_cache_on_a_disk_that_is_full_or_read_only_still_serves_what_it_holds(
    proxied: Proxy, policy: str, tmp_path: Path, disk: Path
) -> None:
    cache = ("--cache-dir", str(disk))
    with serve(proxied.url, policy, tmp_path, *cache) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(bytes(free))
    with serve(proxied.url, policy, tmp_path, *cache) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        wait_until(lambda: "(No space left on device); make room there" in str(running.ready().get("registry")))
        assert running.ready()["registry"]["up"] is True
    proxied.fault = answering_with(503, "gone")
    subprocess.run(["/bin/mount", "-o", "remount,ro", str(disk)], check=True)
    with serve(proxied.url, policy, tmp_path, *cache) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        assert answering(running, policy) == "1"


def test_a_service_killed_at_any_moment_of_a_rollout_starts_again_without_its_registry(
    proxied: Proxy, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    champion = 1
    for delay_s in (0.1, 0.6):
        proxied.fault = none
        with serve(proxied.url, policy, tmp_path) as running:
            wait_until(lambda: running.ready()["ready"] is True, running.log)
            champion = 3 - champion
            store.set_registered_model_alias(policy, CHAMPION, str(champion))
            time.sleep(delay_s)
            os.killpg(running.process.pid, signal.SIGKILL)
        proxied.fault = answering_with(503, "gone")
        with serve(proxied.url, policy, tmp_path) as running:
            wait_until(lambda: running.ready()["ready"] is True, running.log)
            assert answering(running, policy) in ("1", "2")
