"""A stream of episodes is for one thread or task, and a client for one process and one loop: whoever errs is told."""

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from polserve.serving.client import AsyncPolicyClient, ClientError, InvalidArgument, PolicyClient
from polserve.serving.client.transport import TransportName
from polserve.serving.client.turns import Turn
from tests.support.running import Running, wait_until

OBSERVATION = np.zeros(4, np.float32)
TRANSPORTS: tuple[TransportName, ...] = ("grpcio", "nghttp2")


def tell(failure: ClientError) -> str:
    """What it says, where it is no failure of the service."""
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    return str(failure)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_threads_that_share_an_episode_are_told_and_it_goes_on(running: Running, transport: TransportName) -> None:
    with PolicyClient(running.target, transport=transport) as client, client.episode("cartpole") as episode:
        episode.act(OBSERVATION)

        def act(_: int) -> str:
            try:
                for _ in range(50):
                    episode.act(OBSERVATION)
            except ClientError as failure:
                return tell(failure)
            return "alone"

        with ThreadPoolExecutor(8) as pool:
            told = set(pool.map(act, range(8)))
        assert "alone" in told, "the last one, at least"
        assert any("another step of this episode is under way" in text for text in told)
        assert episode.end() is None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_thread_outlives_a_client(running: Running, transport: TransportName) -> None:
    before = set(threading.enumerate())
    with PolicyClient(running.target, transport=transport) as client:
        with client.episode("cartpole") as episode:
            episode.act(OBSERVATION)
        left_open = client.episode("cartpole")
        left_open.act(OBSERVATION)
        assert set(threading.enumerate()) - before
    wait_until(lambda: not set(threading.enumerate()) - before)


def test_tasks_that_share_an_episode_are_told_and_it_goes_on(running: Running) -> None:
    async def play() -> list[Any]:
        async with AsyncPolicyClient(running.target) as client, client.episode("cartpole") as episode:
            await episode.act(OBSERVATION)
            found = await asyncio.gather(*(episode.act(OBSERVATION) for _ in range(5)), return_exceptions=True)
            await episode.end()
            return found

    first, *others = asyncio.run(play())
    assert first.version == "1"
    assert all("another step of this episode is under way" in tell(failure) for failure in others)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_step_after_the_end_of_a_stream_is_told_how_it_ended(running: Running, transport: TransportName) -> None:
    with PolicyClient(running.target, transport=transport) as client:
        with client.episode("cartpole") as episode:
            with pytest.raises(ClientError, match=r"^INVALID_ARGUMENT: observation\.shape"):
                episode.act(OBSERVATION[:3])
            with pytest.raises(ClientError, match=r"^CANCELLED: the stream was ended by INVALID_ARGUMENT: observation"):
                episode.act(OBSERVATION)
        with client.episodes("cartpole", 2) as episodes:
            episodes.act(np.zeros((2, 4), np.float32))
        with pytest.raises(ClientError, match=r"^CANCELLED: the stream has ended; open another one"):
            episodes.act(np.zeros((2, 4), np.float32))


def test_an_episode_that_has_not_begun_does_not_end_and_begins_all_the_same(client: PolicyClient) -> None:
    with client.episode("cartpole") as episode, client.episodes("cartpole", 2) as episodes:
        for kind in (episode, episodes):
            with pytest.raises(InvalidArgument, match="end: expected an action before it, which begins an episode"):
                kind.end()
        with pytest.raises(InvalidArgument, match="terminated, truncated: expected none with the first observations"):
            episodes.act(np.zeros((2, 4), np.float32), terminated=[True, False])
        assert episode.act(OBSERVATION).version == "1"
        assert len(episodes.act(np.zeros((2, 4), np.float32)).action) == 2


def test_an_asyncio_client_is_made_anywhere_and_used_in_one_loop(running: Running) -> None:
    client = AsyncPolicyClient(running.target)

    async def ask() -> str:
        return (await client.act("cartpole", OBSERVATION)).version

    async def open_stream() -> None:
        client.episode("cartpole")

    assert asyncio.run(ask()) == "1"
    for other in (ask, open_stream):
        with pytest.raises(InvalidArgument, match="expected to be used in one event loop, got another one; make a"):
            asyncio.run(other())
    with pytest.raises(InvalidArgument, match="expected to be used where asyncio runs"):
        AsyncPolicyClient(running.target).episode("cartpole")


@pytest.mark.parametrize("client_kind", [PolicyClient, AsyncPolicyClient])
def test_a_client_that_is_sent_to_another_process_says_what_to_do(running: Running, client_kind: Any) -> None:
    client = client_kind(running.target)
    with pytest.raises(TypeError, match="holds connections and cannot be pickled; make one in each process"):
        pickle.dumps(client)
    if isinstance(client, PolicyClient):
        client.close()


def test_no_step_gets_the_answer_of_one_that_was_interrupted() -> None:
    turn = Turn()
    with pytest.raises(KeyboardInterrupt), turn:
        raise KeyboardInterrupt
    with (
        pytest.raises(ClientError, match="the stream was ended by a step that was interrupted; open another one"),
        turn,
    ):
        pass


def test_an_episode_whose_step_was_cancelled_takes_no_more_of_them(running: Running) -> None:
    async def play() -> None:
        async with AsyncPolicyClient(running.target) as client, client.episode("cartpole") as episode:
            await episode.act(OBSERVATION)
            step = asyncio.create_task(episode.act(OBSERVATION))
            await asyncio.sleep(0)
            step.cancel()
            with pytest.raises(asyncio.CancelledError):
                await step
            with pytest.raises(ClientError, match="was ended by a step that was interrupted"):
                await episode.act(OBSERVATION)

    asyncio.run(play())
