"""`transport="nghttp2"` answers, refuses, waits and recovers as the default transport does."""

import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from polserve.serving.client import ClientError, InvalidArgument, PolicyClient
from polserve.serving.client.transport import TransportName
from tests.support.running import Running, free_port, program, service, wait_until
from tests.support.versions import make_frames_version, make_slow_version, make_version

GOLDEN = make_version().golden
FRAMES = make_frames_version().golden
TRANSPORTS: tuple[TransportName, ...] = ("grpcio", "nghttp2")


@pytest.fixture
def fast(running: Running) -> Iterator[PolicyClient]:
    with PolicyClient(running.target, transport="nghttp2") as client:
        yield client


def test_answers_are_those_of_the_default_transport(fast: PolicyClient, client: PolicyClient) -> None:
    for observations in (GOLDEN["observation"], GOLDEN["observation"][0], GOLDEN["observation"].tolist()):
        mine, theirs = (each.act("cartpole", observations, with_values=True) for each in (fast, client))
        assert mine.action.tolist() == theirs.action.tolist()
        assert mine.values == pytest.approx(theirs.values, abs=1e-4)
        assert (mine.policy, mine.version, mine.explored) == (theirs.policy, theirs.version, theirs.explored)
    assert fast.act_batch("cartpole", list(GOLDEN["observation"][:5])).action.tolist() == GOLDEN["action"][:5].tolist()
    assert [policy.name for policy in fast.policies()] == ["cartpole", "frames"]
    assert fast.policy("cartpole") == client.policy("cartpole")


def test_episodes_are_played_one_after_the_other_and_side_by_side(fast: PolicyClient) -> None:
    with fast.episode("cartpole") as episode:
        for _ in range(2):
            assert episode.act(GOLDEN["observation"][0]).action == GOLDEN["action"][0]
            assert episode.act(GOLDEN["observation"][1], reward=1.5).action == GOLDEN["action"][1]
            assert episode.end(reward=2) == 3.5
    with pytest.raises(ClientError, match="CANCELLED: the stream has ended"):
        episode.act(GOLDEN["observation"][0])
    with fast.episodes("cartpole", 9) as episodes:
        assert episodes.act(GOLDEN["observation"][:9]).action.tolist() == GOLDEN["action"][:9].tolist()


def test_large_messages_go_both_ways(fast: PolicyClient) -> None:
    rows = np.repeat(GOLDEN["observation"][:1], 1_000_000, axis=0)  # 16 MB, and 8 MB back
    assert (fast.act("cartpole", rows).action == GOLDEN["action"][0]).all()


@pytest.mark.parametrize(
    ("policy", "observation", "version"),
    [
        ("go", np.zeros(4), ""),
        ("cartpole", np.zeros(4), "9"),
        ("cartpole", np.zeros(5), ""),
        ("cartpole", np.array([0, np.nan, 0, 0]), ""),
        ("cartpole", np.zeros((4, 5_000_000), np.float32), ""),
    ],
)
def test_what_is_refused_is_refused_in_the_same_words(
    running: Running, policy: str, observation: np.ndarray, version: str
) -> None:
    said = []
    for transport in TRANSPORTS:
        with PolicyClient(running.target, transport=transport) as client, pytest.raises(ClientError) as refusal:
            client.act(policy, observation, version=version)
        assert isinstance(refusal.value.__cause__, grpc.RpcError)
        said.append((refusal.value.code, str(refusal.value).partition("(")[0]))
    assert said[0] == said[1]


def test_an_episode_that_is_refused_ends_with_the_reason(fast: PolicyClient) -> None:
    with fast.episode("cartpole") as episode, pytest.raises(ClientError, match=r"INVALID_ARGUMENT: observation\.shape"):
        episode.act(np.zeros(3))


def test_threads_share_a_client(fast: PolicyClient) -> None:
    def ask(i: int) -> bool:
        return bool(fast.act("frames", FRAMES["observation"][i % 70]).action == FRAMES["action"][i % 70])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_an_answer_that_does_not_come_in_time_is_an_error_of_the_deadline(tmp_path: Path) -> None:
    make_slow_version(3000).write(tmp_path / "policies" / "slow" / "1")
    with (
        service("--policies", str(tmp_path / "policies"), folder=tmp_path) as running,
        PolicyClient(running.target, transport="nghttp2", timeout_s=1) as client,
    ):
        wait_until(running.is_up, running.log)
        with pytest.raises(ClientError) as late:
            client.act("slow", np.zeros((20_000, 4), np.float32))
        assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        running.process.send_signal(signal.SIGSTOP)
        try:
            with client.episode("slow") as episode, pytest.raises(ClientError, match="no answer within 1 s"):
                episode.act(np.zeros(4))
        finally:
            running.process.send_signal(signal.SIGCONT)


def test_a_service_that_comes_back_is_found_again(policies: Path, tmp_path: Path) -> None:
    ports = ("--grpc-port", str(free_port()), "--http-port", str(free_port()))
    arguments = ("-m", "polserve", "serve", "--policies", str(policies), *ports)
    with PolicyClient(f"127.0.0.1:{ports[1]}", transport="nghttp2", timeout_s=30) as client:

        def answers() -> bool:
            try:
                return client.act("cartpole", np.zeros(4)).version == "1"
            except ClientError as error:
                assert error.code is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - until it is up
                return False

        for _ in range(2):
            with program(*arguments, log=tmp_path / "log"):
                wait_until(answers, tmp_path / "log")
        with pytest.raises(ClientError, match="cannot be reached; it last answered"):
            client.act("cartpole", np.zeros(4))


def test_what_speaks_no_grpc_is_named_so(running: Running) -> None:
    target = running.http_url.removeprefix("http://")
    with (
        PolicyClient(target, transport="nghttp2", timeout_s=30) as client,
        pytest.raises(ClientError, match="speaks no gRPC"),
    ):
        client.act("cartpole", np.zeros(4))


def test_a_server_that_hangs_up_is_tried_again_and_then_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                accepted.append(1)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        target = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            PolicyClient(target, transport="nghttp2", timeout_s=30) as client,
            pytest.raises(ClientError, match="UNAVAILABLE: no polserve answers at"),
        ):
            client.act("cartpole", np.zeros(4))
    assert len(accepted) == 4


def test_options_of_the_other_transport_are_refused(running: Running) -> None:
    with pytest.raises(InvalidArgument, match=r"options: expected only grpc\.enable_retries with transport"):
        PolicyClient(running.target, transport="nghttp2", options={"grpc.keepalive_time_ms": 1})
    with pytest.raises(InvalidArgument, match="transport: expected grpcio or nghttp2, got 'http'"):
        PolicyClient(running.target, transport="http")  # type: ignore[arg-type]
