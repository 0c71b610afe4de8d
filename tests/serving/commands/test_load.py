import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2_grpc
from polserve.protos.tensors import to_tensor
from polserve.serving.client import PolicyClient
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.policy import Policy
from polserve.serving.workers.worker import Share
from tests.conftest import KINDS
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_allocator_version, make_frames_version, make_slow_version, make_version

FRAMES = make_frames_version().golden
OBSERVATION = make_version().golden["observation"][0]
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
LARGE = np.zeros((15_000, 4), np.float32)
"""Keeps the slow policy busy for a good part of a second."""
SLOW = LARGE[:64]
"""Takes long enough to go through the queue."""
HUGE = np.zeros((3_900_000, 4), np.float32)
"""Nearly as large as a message may be."""


@pytest.fixture(scope="module", params=["nghttp2", "grpcio"])
def queued(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a slow policy, which lets few calls wait."""
    folder = tmp_path_factory.mktemp("queued")
    make_version().write(folder / "policies" / "cartpole" / "1")
    make_slow_version(2048).write(folder / "policies" / "slow" / "1")
    options = ("--policies", str(folder / "policies"), "--max-waiting", "4", *KINDS[request.param])
    with service(*options, folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


def slow_request(observation: np.ndarray = SLOW) -> pb.ActRequest:
    return pb.ActRequest(policy="slow", observation=to_tensor(observation))


def started(running: Running) -> float:
    """Calls of Act that have arrived, as the metrics tell."""
    lines = [line for line in running.metrics().splitlines() if line.startswith("grpc_server_started_total{")]
    return sum(float(line.split()[1]) for line in lines if 'grpc_method="Act"' in line)


@contextmanager
def busy(stub: policy_pb2_grpc.PolicyServiceStub, running: Running) -> Iterator["grpc.Future[pb.ActResponse]"]:
    """The model answers a large batch, which is the value, while the block runs, and has answered it afterwards."""
    before = started(running)
    call = stub.Act.future(slow_request(LARGE), timeout=60)
    wait_until(lambda: started(running) > before)
    yield call
    assert len(call.result().action.data) == 8 * len(LARGE)


def answered(running: Running, policy: str) -> float:
    """Observations answered, as the metrics tell."""
    series = f'polserve_observations_total{{policy="{policy}",version="1"}}'
    return sum(float(line.split()[1]) for line in running.metrics().splitlines() if line.startswith(series))


def test_what_waits_together_is_answered_as_each_alone(policies: Path, tmp_path: Path) -> None:
    with (
        service("--policies", str(policies), "--batching", "on", folder=tmp_path) as running,
        PolicyClient(running.target, connections=4) as client,
        ThreadPoolExecutor(32) as pool,
    ):
        wait_until(running.is_up, running.log)

        def ask(i: int) -> None:
            answer = client.act("frames", FRAMES["observation"][i], with_values=i % 2 == 0)
            assert answer.action == FRAMES["action"][i]
            assert (answer.values is not None) is (i % 2 == 0)
            if answer.values is not None:
                assert answer.values == pytest.approx(FRAMES["values"][i], abs=1e-4), "the tolerance that is stated"

        for _ in range(10):
            list(pool.map(ask, range(70)))
        page = running.metrics()
        assert 'polserve_batch_size_bucket{le="1.0"}' in page
        size = {
            name: float(line.split()[1])
            for line in page.splitlines()
            for name in ("sum", "count")
            if line.startswith(f"polserve_batch_size_{name}")
        }
        assert size["sum"] == 700
        assert size["count"] < 700, "some went together"
        assert "polserve_queue_seconds_count 700.0" in page


def test_versions_of_one_number_with_other_components_are_counted_apart() -> None:
    metrics = AnsweringMetrics(CollectorRegistry())
    for n in (2, 5):
        version = make_allocator_version(n)
        policy = Policy.of_model("adbudget", "1", version.model.SerializeToString())
        metrics.count_run(policy, policy.act(version.golden["observation"][:1]), 0.001, [(0.0, 1)])


def test_a_full_queue_refuses_at_once_and_says_when_to_try_again(queued: Running) -> None:
    with grpc.insecure_channel(queued.target, UNLIMITED) as channel:
        stub = policy_pb2_grpc.PolicyServiceStub(channel)
        with busy(stub, queued):
            calls = [stub.Act.future(slow_request(), timeout=30) for _ in range(10)]
            wait_until(lambda: sum(call.done() for call in calls) == 6, queued.log)
        refused = [call for call in calls if call.code() is not grpc.StatusCode.OK]
        assert len(refused) == 6, "as many as may wait do wait, and are answered"
    for call in refused:
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the queue is full: 4 calls wait" in call.details()
        assert "try again in 0.1 s" in call.details()
        assert dict(call.trailing_metadata())["grpc-retry-pushback-ms"] == "100"


def test_health_and_fast_policies_are_answered_while_a_slow_model_is_busy(queued: Running) -> None:
    with (
        grpc.insecure_channel(queued.target, UNLIMITED) as channel,
        PolicyClient(queued.target) as client,
        busy(policy_pb2_grpc.PolicyServiceStub(channel), queued) as large,
    ):
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert client.act("cartpole", OBSERVATION).version == "1"
        assert not large.done()


@pytest.mark.parametrize("way", ["deadline", "cancel"])
def test_work_that_nobody_waits_for_is_dropped_before_the_model(queued: Running, way: str) -> None:
    with grpc.insecure_channel(queued.target, UNLIMITED) as channel:
        stub = policy_pb2_grpc.PolicyServiceStub(channel)
        before = answered(queued, "slow")
        with busy(stub, queued):
            calls = [stub.Act.future(slow_request(), timeout=0.05 if way == "deadline" else 30) for _ in range(3)]
            time.sleep(0.1)
            if way == "cancel":
                for call in calls:
                    call.cancel()
            wait_until(lambda: all(call.done() for call in calls))
        assert stub.Act(slow_request(), timeout=30).version == "1"
    assert answered(queued, "slow") - before == len(LARGE) + len(SLOW)
    codes = {call.code() for call in calls}
    if way == "cancel":
        assert codes == {grpc.StatusCode.CANCELLED}
    else:  # a call whose deadline is nearer than its answer may be refused at once
        assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        refused = [call for call in calls if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert all("most of the time to its deadline" in str(call.details()) for call in refused)


def test_a_large_message_holds_up_no_other_call(queued: Running) -> None:
    with (
        grpc.insecure_channel(queued.target, UNLIMITED) as channel,
        PolicyClient(queued.target) as client,
    ):
        request = pb.ActRequest(policy="cartpole", observation=to_tensor(HUGE))
        large = policy_pb2_grpc.PolicyServiceStub(channel).Act.future(request, timeout=30)
        n_answered = 0
        while not large.done():
            assert client.act("cartpole", OBSERVATION).version == "1"
            n_answered += 1
        assert len(large.result().action.data) == 8 * len(HUGE)
        assert n_answered > 10


def test_calls_of_many_threads_get_each_its_own_answer(kind: str, services: Callable[[str], Running]) -> None:
    golden = make_version().golden
    with PolicyClient(services(kind).target, connections=3) as client, ThreadPoolExecutor(16) as pool:

        def ask(i: int) -> bool:
            i %= len(golden["observation"])
            frames = client.act("frames", FRAMES["observation"][i % 70])
            small = client.act("cartpole", golden["observation"][i])
            return bool(small.action == golden["action"][i] and frames.action == FRAMES["action"][i % 70])

        assert all(pool.map(ask, range(1000)))


def test_a_seeded_service_explores_the_same_way_again(policies: Path, tmp_path: Path) -> None:
    drawn = []
    for seed in ("7", "7", "8"):
        with (
            service("--policies", str(policies), "--seed", seed, folder=tmp_path) as running,
            PolicyClient(running.target) as client,
        ):
            wait_until(running.is_up, running.log)
            answers = [client.act("cartpole", OBSERVATION, epsilon=0.5) for _ in range(40)]
            drawn.append([(int(answer.action), answer.explored) for answer in answers])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize(("total", "n"), [(256, 1), (256, 3), (2, 4), (0, 2)])
def test_what_workers_share_is_given_out_whole(total: int, n: int) -> None:
    shares = [Share(i, n).of(total) for i in range(n)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def test_threads_of_the_service_end_with_it(policies: Path, tmp_path: Path) -> None:
    with service("--policies", str(policies), "--workers", "2", folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        stopped = threading.Event()

        def ask() -> None:
            with PolicyClient(running.target, timeout_s=2) as client:
                while not stopped.is_set():
                    try:
                        client.act("cartpole", OBSERVATION)
                    except Exception:  # noqa: BLE001 - the service ends meanwhile
                        return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        running.process.terminate()
        assert running.process.wait(60) == 0
        stopped.set()
        for thread in threads:
            thread.join()
