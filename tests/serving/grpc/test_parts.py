"""A message may be large; what it costs beside its own size may not."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from polserve.protos.polserve.v1 import budget_pb2, budget_pb2_grpc, policy_pb2_grpc
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import ClientError, PolicyClient
from polserve.serving.errors import Expired, InvalidRequest
from polserve.serving.policy import Policy
from polserve.serving.policy.observations import PART_ROWS
from polserve.serving.settings.settings import BUNDLED_POLICIES
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_slow_version, make_version

MIB = 1 << 20
N = 3 * PART_ROWS + 5


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.of_model("cartpole", "1", make_version().model.SerializeToString())


def observations(n: int = N) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)


def test_a_large_batch_is_answered_as_its_parts_are(policy: Policy) -> None:
    batch = observations()
    whole = policy.act(batch, with_values=True)
    parts = [policy.act(part, with_values=True) for part in np.array_split(batch, 40)]
    assert (whole.actions == np.concatenate([part.actions for part in parts])).all()
    assert whole.values is not None
    assert np.allclose(whole.values, np.concatenate([part.values for part in parts if part.values is not None]))


def test_no_part_is_begun_for_a_caller_who_has_gone(policy: Policy) -> None:
    asked = []

    def is_wanted() -> bool:
        asked.append(1)
        return len(asked) < 2

    with pytest.raises(Expired, match="the deadline has passed, or the client has gone"):
        policy.act(observations(), is_wanted=is_wanted)
    assert len(asked) == 2


def test_a_bad_value_is_named_by_its_place_in_the_whole_batch(policy: Policy) -> None:
    batch = observations()
    batch[2 * PART_ROWS + 1, 3] = np.nan
    with pytest.raises(InvalidRequest, match=rf"got nan at \[{2 * PART_ROWS + 1}, 3\]"):
        policy.observation.check(batch)


def resident_mib(pid: int, field: str) -> float:
    """VmRSS or VmHWM, the most that it was, of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def test_a_large_batch_takes_memory_as_its_message_is_large(tmp_path: Path) -> None:
    batch = np.zeros((2_000_000, 4), np.float32)  # 31 MiB
    frames = np.zeros((100, 4, 210, 160, 3), np.uint8)  # 38 MiB
    with (
        service("--policies", str(BUNDLED_POLICIES), folder=tmp_path) as running,
        PolicyClient(running.target, timeout_s=60) as client,
    ):
        wait_until(running.is_up, running.log)
        before = resident_mib(running.process.pid, "VmRSS")
        assert client.act("cartpole", batch).action.shape == (2_000_000,)
        assert client.act("mspacman", frames).action.shape == (100,)
        most = resident_mib(running.process.pid, "VmHWM")
    # Eight times the message; the whole batch at once took 2 GiB, and kept them.
    assert most - before < 8 * batch.nbytes / MIB + 50


def test_what_is_past_its_deadline_is_not_worked_on_to_the_end(tmp_path: Path) -> None:
    make_slow_version(1024).write(tmp_path / "policies" / "slow" / "1")
    with (
        service("--policies", str(tmp_path / "policies"), folder=tmp_path) as running,
        PolicyClient(running.target, timeout_s=1.0) as client,
        PolicyClient(running.target, timeout_s=8.0) as other,
    ):
        wait_until(running.is_up, running.log)
        with pytest.raises(ClientError) as late:
            client.act("slow", np.zeros((400_000, 4), np.float32))  # ten seconds of work and more
        assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        other.act("slow", np.zeros((64, 4), np.float32))  # goes through the same queue, and is answered before


def test_a_request_for_a_split_may_not_be_large(running: Running) -> None:
    spends = budget_pb2.ChannelState(name="facebook", spent_micros=[1] * (2 * MIB))
    with grpc.insecure_channel(running.target) as channel, pytest.raises(grpc.RpcError) as refusal:
        budget_pb2_grpc.BudgetServiceStub(channel).Allocate(budget_pb2.AllocateRequest(channels=[spends]), timeout=30)
    assert "message: expected at most 1048576 bytes of AllocateRequest" in str(refusal.value)


def test_a_shape_may_not_have_more_axes_than_an_array(running: Running) -> None:
    tensor = pb.Tensor(dtype=pb.FLOAT32, shape=[1] * (4 * MIB), data=b"")
    with grpc.insecure_channel(running.target) as channel, pytest.raises(grpc.RpcError) as refusal:
        policy_pb2_grpc.PolicyServiceStub(channel).Act(pb.ActRequest(policy="cartpole", observation=tensor), timeout=30)
    assert "observation.shape: expected at most 32 axes, got 4194304" in str(refusal.value)
