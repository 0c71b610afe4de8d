import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2_grpc
from polserve.protos.tensors import to_tensor
from polserve.serving.client import AsyncPolicyClient, ClientError, InvalidArgument, PolicyClient
from polserve.serving.client.transport import TransportName
from tests.support.running import Running
from tests.support.versions import make_frames_version, make_version

GOLDEN = make_version().golden
FRAMES = np.random.default_rng(1).integers(0, 256, (6, 36, 36), np.uint8)


def test_a_batch_may_be_a_sequence_of_arrays(client: PolicyClient) -> None:
    observations = GOLDEN["observation"][:5]
    assert (client.act_batch("cartpole", observations).action == GOLDEN["action"][:5]).all()
    assert (client.act_batch("cartpole", list(observations)).action == GOLDEN["action"][:5]).all()
    assert client.act_batch("cartpole", [observations[0]]).action.shape == (1,)
    assert client.act_batch("cartpole", [[0, 0, 0, 0]]).action.shape == (1,)


def test_asyncio_gets_the_same_answers(running: Running, client: PolicyClient) -> None:
    async def ask() -> None:
        async with AsyncPolicyClient(running.target, connections=2) as other:
            answers = await asyncio.gather(*(other.act("cartpole", one) for one in GOLDEN["observation"]))
            assert [int(answer.action) for answer in answers] == GOLDEN["action"].tolist()
            batch = await other.act_batch("cartpole", list(GOLDEN["observation"]), with_values=True)
            assert (batch.action == GOLDEN["action"]).all()
            assert await other.policies() == client.policies()
            assert await other.policy("cartpole") == client.policy("cartpole")
            with pytest.raises(ClientError, match="NOT_FOUND: policy: no policy 'go' is live") as refusal:
                await other.act("go", [0])
            assert isinstance(refusal.value.__cause__, grpc.RpcError)

    asyncio.run(ask())


def test_asyncio_plays_the_same_episodes(running: Running, client: PolicyClient) -> None:
    with client.episode("frames", with_values=True) as episode:
        expected = [episode.act(frame).values for frame in FRAMES]

    async def play() -> None:
        async with AsyncPolicyClient(running.target) as other, other.episode("frames", with_values=True) as episode:
            for _ in range(2):
                for i, frame in enumerate(FRAMES):
                    answer = await episode.act(frame, reward=1.0 if i else None)
                    assert answer.version == "1"
                    assert answer.values == pytest.approx(expected[i])
                assert await episode.end(reward=1.0) == len(FRAMES)
            with pytest.raises(InvalidArgument, match="end: expected an action before it"):
                await episode.end()
            await episode.act(FRAMES[0])

    asyncio.run(play())


def test_an_episode_that_the_service_ended_stays_ended(client: PolicyClient) -> None:
    with client.episode("cartpole") as episode:
        for code in ("INVALID_ARGUMENT", "CANCELLED: the stream was ended by INVALID_ARGUMENT"):
            with pytest.raises(ClientError, match=rf"^{code}: observation\.shape: expected \(4,\)"):
                episode.act(np.zeros(3, np.float32))


class Moody(policy_pb2_grpc.PolicyServiceServicer):
    """Fails a number of times before it answers; or never answers."""

    def __init__(
        self,
        failures: int,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        *,
        is_hinted: bool = True,
        pause_ms: int = 10,
    ) -> None:
        self.failures = failures
        self.code = code
        self.is_hinted = is_hinted
        self.pause_ms = pause_ms
        self.calls = 0
        self.called, self.ended = threading.Event(), threading.Event()

    def Act(self, _request: pb.ActRequest, context: grpc.ServicerContext) -> pb.ActResponse:  # noqa: N802
        self.calls += 1
        self.called.set()
        if self.failures < 0:
            self.ended.wait(10)
        if self.calls <= self.failures:
            if self.is_hinted:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", str(self.pause_ms)),))
            context.abort(self.code, "not now")
        return pb.ActResponse(version="1", action=to_tensor(np.zeros((), np.int64)))

    def Episode(self, requests: Iterator[pb.EpisodeRequest], context: grpc.ServicerContext) -> Iterator[None]:  # noqa: N802
        self.calls += 1
        for _ in requests:
            if self.failures < 0:
                self.ended.wait(10)
            context.abort(self.code, "not now")
        yield None


@contextmanager
def served(moody: Moody) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    policy_pb2_grpc.add_PolicyServiceServicer_to_server(moody, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    moody.ended.set()
    server.stop(0).wait()


def act(target: str, *, timeout_s: float = 10.0) -> str:
    with PolicyClient(target, timeout_s=timeout_s) as client:
        return client.act("cartpole", [0, 0, 0, 0]).version


def act_async(target: str, *, timeout_s: float = 10.0) -> str:
    async def ask() -> str:
        async with AsyncPolicyClient(target, timeout_s=timeout_s) as client:
            return (await client.act("cartpole", [0, 0, 0, 0])).version

    return asyncio.run(ask())


def play(target: str, *, timeout_s: float = 10.0) -> str:
    with PolicyClient(target, timeout_s=timeout_s) as client, client.episode("cartpole") as episode:
        return episode.act([0, 0, 0, 0]).version


def play_async(target: str, *, timeout_s: float = 10.0) -> str:
    async def ask() -> str:
        async with (
            AsyncPolicyClient(target, timeout_s=timeout_s) as client,
            client.episode("cartpole") as episode,
        ):
            return (await episode.act([0, 0, 0, 0])).version

    return asyncio.run(ask())


@pytest.mark.parametrize("transport", ["grpcio", "nghttp2"])
def test_a_client_that_was_closed_says_so(running: Running, transport: TransportName) -> None:
    client = PolicyClient(running.target, transport=transport)
    client.close()
    for ask in (lambda: client.act("cartpole", [0, 0, 0, 0]), lambda: client.episode("cartpole")):
        with pytest.raises(ClientError, match="CANCELLED: the client was closed; make another one"):
            ask()


@pytest.mark.parametrize("transport", ["grpcio", "nghttp2"])
def test_a_client_that_is_closed_while_a_call_waits_to_be_made_again_says_so(transport: TransportName) -> None:
    moody = Moody(2, grpc.StatusCode.RESOURCE_EXHAUSTED, pause_ms=500)
    with served(moody) as target, ThreadPoolExecutor(1) as pool:
        client = PolicyClient(target, transport=transport)
        waiting = pool.submit(client.act, "cartpole", [0, 0, 0, 0])
        moody.called.wait(10)
        time.sleep(0.2)
        client.close()
        with pytest.raises(ClientError, match="CANCELLED: the client was closed; make another one"):
            waiting.result(10)
    assert moody.calls == 1


def test_an_asyncio_client_that_is_closed_while_a_call_waits_to_be_made_again_says_so() -> None:
    async def ask(target: str, moody: Moody) -> None:
        client = AsyncPolicyClient(target)
        waiting = asyncio.ensure_future(client.act("cartpole", [0, 0, 0, 0]))
        await asyncio.to_thread(moody.called.wait, 10)
        await asyncio.sleep(0.2)
        await client.close()
        with pytest.raises(ClientError, match="CANCELLED: the client was closed; make another one"):
            await waiting

    moody = Moody(2, grpc.StatusCode.RESOURCE_EXHAUSTED, pause_ms=500)
    with served(moody) as target:
        asyncio.run(ask(target, moody))


def test_an_asyncio_client_that_was_closed_says_so(running: Running) -> None:
    async def ask() -> None:
        client = AsyncPolicyClient(running.target)
        await client.close()
        with pytest.raises(ClientError, match="CANCELLED: the client was closed; make another one"):
            await client.act("cartpole", [0, 0, 0, 0])
        with pytest.raises(ClientError, match="CANCELLED: the client was closed; make another one"):
            client.episode("cartpole")

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [act, act_async])
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_an_act_is_tried_again_while_the_service_cannot(ask: Callable[..., str], code: grpc.StatusCode) -> None:
    moody = Moody(2, code)
    with served(moody) as target:
        assert ask(target) == "1"
    assert moody.calls == 3


def test_an_act_is_not_tried_again_for_ever_nor_after_a_refusal() -> None:
    for moody, calls in ((Moody(99), 4), (Moody(99, grpc.StatusCode.INVALID_ARGUMENT), 1)):
        with served(moody) as target, pytest.raises(ClientError, match="not now"):
            act(target)
        assert moody.calls == calls


@pytest.mark.parametrize("ask", [act, act_async])
def test_what_is_refused_for_good_is_not_tried_again(ask: Callable[..., str]) -> None:
    too_large = Moody(99, grpc.StatusCode.RESOURCE_EXHAUSTED, is_hinted=False)
    with served(too_large) as target, pytest.raises(ClientError, match="not now"):
        ask(target)
    assert too_large.calls == 1


def test_retries_can_be_turned_off() -> None:
    full = Moody(99, grpc.StatusCode.RESOURCE_EXHAUSTED)
    with (
        served(full) as target,
        PolicyClient(target, options={"grpc.enable_retries": 0}) as client,
        pytest.raises(ClientError, match="not now"),
    ):
        client.act("cartpole", [0, 0, 0, 0])
    assert full.calls == 1


def test_a_message_above_the_limit_says_what_to_do(client: PolicyClient) -> None:
    with pytest.raises(ClientError, match="the message is above the limit; send fewer observations at once"):
        client.act("cartpole", np.zeros((4_300_000, 4), np.float32))


def test_a_service_that_went_away_is_said_to_have_answered_before() -> None:
    with contextlib.ExitStack() as stack:
        with served(Moody(0)) as target:
            client = stack.enter_context(PolicyClient(target))
            client.act("cartpole", [0, 0, 0, 0])
        with pytest.raises(ClientError, match=rf"{target} cannot be reached; it last answered \d+ s ago"):
            client.act("cartpole", [0, 0, 0, 0])


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_stands_before_this_very_machine(
    running: Running, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with PolicyClient(running.target.replace("127.0.0.1", host)) as client:
        assert client.act("cartpole", GOLDEN["observation"][0]).version == "1"


def test_an_error_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:secret@127.0.0.1:9")
    with PolicyClient("polserve.example:50051") as client, pytest.raises(ClientError) as refusal:
        client.policies()
    assert "through the proxy http://127.0.0.1:9 of the variable https_proxy" in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("ask", [play, play_async])
def test_an_episode_is_never_tried_again(ask: Callable[..., str]) -> None:
    moody = Moody(1)
    with served(moody) as target, pytest.raises(ClientError, match="UNAVAILABLE: not now"):
        ask(target)
    assert moody.calls == 1


@pytest.mark.parametrize("ask", [act, act_async, play, play_async])
def test_every_call_has_a_deadline(ask: Callable[..., str]) -> None:
    with served(Moody(-1)) as target, pytest.raises(ClientError) as refusal:
        ask(target, timeout_s=0.2)
    assert refusal.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("ask", [act, act_async, play, play_async])
def test_where_nobody_answers_the_error_says_what_to_do(ask: Callable[..., str]) -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(ClientError, match=f"no polserve answers at {target}; start one with `polserve serve`"):
            ask(target)


def test_channel_options_come_before_our_own(running: Running) -> None:
    with (
        PolicyClient(running.target, options={"grpc.max_receive_message_length": 10}) as client,
        pytest.raises(ClientError, match="RESOURCE_EXHAUSTED"),
    ):
        client.act("cartpole", GOLDEN["observation"])


def test_frames_are_whole_numbers_of_a_byte_or_refused(client: PolicyClient) -> None:
    assert client.act("frames", make_frames_version().golden["observation"][0]).version == "1"
    scaled = FRAMES[0] / 255
    with client.episode("frames") as episode, pytest.raises(ClientError, match="expected whole numbers from 0 to 255"):
        episode.act(scaled)


@pytest.mark.parametrize("ask", [act, act_async, play, play_async])
def test_a_port_that_speaks_http_is_told_as_such(running: Running, ask: Callable[..., str]) -> None:
    with pytest.raises(ClientError, match=r"speaks no gRPC; if it is polserve's port for HTTP \(8080\), give the one"):
        ask(running.http_url.removeprefix("http://"))
