"""Whatever is called, both fronts answer with the same status, message and answer."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polserve.protos.polserve.oip.v2 import inference_pb2 as oip
from polserve.protos.polserve.v1 import policy_pb2 as pb
from tests.support.running import service, wait_until

Ended = tuple[str, str, tuple[tuple[str, str | bytes], ...], tuple[bytes, ...]]
"""Status, message, trailers, answers."""


@pytest.fixture(scope="module")
def channels(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    folder = tmp_path_factory.mktemp("agree")
    with (
        service("--policies", str(policies), "--front", "nghttp2", folder=folder) as ours,
        service("--policies", str(policies), "--front", "grpcio", folder=folder) as public,
        grpc.insecure_channel(ours.target) as one,
        grpc.insecure_channel(public.target) as other,
    ):
        for running in (ours, public):
            wait_until(running.is_up, running.log)
        yield one, other


def ended(channel: grpc.Channel, method: str, messages: list[bytes]) -> Ended:
    """What became of a call."""
    ask: Any = channel.stream_stream(method)
    call = ask(iter(messages), timeout=20, metadata=(("x-request-id", "agreed"),))
    answers: list[bytes] = []
    with contextlib.suppress(grpc.RpcError):
        answers.extend(call)
    trailers = tuple((item[0], item[1]) for item in call.trailing_metadata() or ())
    return call.code().name, call.details() or "", trailers, tuple(answers)


def _explores(epsilon: oip.InferParameter) -> bool:
    """Whether a parameter may have actions drawn at random, whatever it is written as."""
    return epsilon.double_param > 0 or epsilon.int64_param > 0 or bool(epsilon.string_param)


names = st.one_of(st.sampled_from(["cartpole", "frames", "go", ""]), st.text(max_size=8))
versions = st.one_of(st.sampled_from(["", "1", "@champion", "9"]), st.text(max_size=4))
tensors = st.one_of(
    st.builds(
        lambda values: pb.Tensor(dtype=pb.FLOAT32, shape=[len(values) // 4, 4], data=_floats(values)),
        st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=12).map(lambda v: v[: len(v) // 4 * 4]),
    ),
    st.builds(
        pb.Tensor,
        dtype=st.integers(0, 7),
        shape=st.lists(st.integers(-1, 5), max_size=3),
        data=st.binary(max_size=40),
        values=st.lists(st.floats(width=32), max_size=9),
    ),
)
acts = st.builds(
    pb.ActRequest,
    policy=names,
    version=versions,
    observation=tensors,
    with_values=st.booleans(),
    epsilon=st.sampled_from([0.0, 0.0, -1.0, 2.0, float("nan")]),
)
parts = st.one_of(
    st.builds(lambda start: pb.EpisodeRequest(start=start), st.builds(pb.EpisodeStart, policy=names, version=versions)),
    st.builds(
        lambda tensor, reward: pb.EpisodeRequest(step=pb.EpisodeStep(observation=tensor, reward=reward)),
        tensors,
        st.one_of(st.none(), st.floats(width=32)),
    ),
    st.builds(lambda reward: pb.EpisodeRequest(end=pb.EpisodeEnd(reward=reward)), st.one_of(st.none(), st.floats())),
)
inputs = st.builds(
    lambda name, datatype, values: oip.ModelInferRequest.InferInputTensor(
        name=name,
        datatype=datatype,
        shape=[len(values) // 4, 4],
        contents=oip.InferTensorContents(fp32_contents=values),
    ),
    st.sampled_from(["observation", "observation", "state", ""]),
    st.sampled_from(["FP32", "FP32", "FP64", "FP16", "BYTES", "x"]),
    st.lists(st.floats(-10, 10, width=32), max_size=12),
)
parameters = st.dictionaries(
    st.sampled_from(["epsilon", "sequence_id", "sequence_start", "sequence_end", "reward", "other"]),
    st.one_of(
        st.builds(oip.InferParameter, bool_param=st.booleans()),
        st.builds(oip.InferParameter, int64_param=st.integers(-1, 2)),
        st.builds(oip.InferParameter, double_param=st.floats(-1, 2)),
        st.builds(oip.InferParameter, string_param=st.text(max_size=3)),
    ),
    max_size=4,
).filter(lambda given: "epsilon" not in given or not _explores(given["epsilon"]))  # chance agrees with nobody
infers = st.builds(
    oip.ModelInferRequest,
    model_name=names,
    model_version=versions,
    id=st.text(max_size=3),
    inputs=st.lists(inputs, max_size=2),
    raw_input_contents=st.one_of(st.just([]), st.lists(st.binary(max_size=16), max_size=2)),
    parameters=parameters,
)
calls = st.one_of(
    st.tuples(st.just("/inference.GRPCInferenceService/ModelInfer"), st.lists(infers, min_size=1, max_size=1)),
    st.tuples(st.just("/inference.GRPCInferenceService/ModelStreamInfer"), st.lists(infers, max_size=5)),
    st.tuples(st.just("/polserve.v1.PolicyService/Act"), st.lists(acts, max_size=2)),
    st.tuples(st.just("/polserve.v1.PolicyService/Episode"), st.lists(parts, max_size=5)),
    st.tuples(
        st.just("/polserve.v1.PolicyService/GetPolicy"),
        st.lists(st.builds(pb.GetPolicyRequest, policy=names), max_size=1),
    ),
    st.tuples(st.just("/polserve.v1.PolicyService/ListPolicies"), st.just([pb.ListPoliciesRequest()])),
    st.tuples(st.just("/polserve.v1.BudgetService/Allocate"), st.lists(acts, max_size=1)),
)


def _floats(values: list[float]) -> bytes:
    return np.array(values, np.float32).tobytes()


@given(call=calls)
def test_both_fronts_answer_any_call_alike(
    channels: tuple[grpc.Channel, grpc.Channel], call: tuple[str, list[Any]]
) -> None:
    method, messages = call
    sent = [message.SerializeToString() for message in messages]
    one, other = (ended(channel, method, sent) for channel in channels)
    if sent:
        assert one == other
    else:  # each front says in its own words that a message is missing
        assert one[0] == other[0]


@given(message=st.binary(max_size=60))
def test_both_fronts_answer_any_bytes_alike(channels: tuple[grpc.Channel, grpc.Channel], message: bytes) -> None:
    one, other = (ended(channel, "/polserve.v1.PolicyService/Act", [message]) for channel in channels)
    assert one == other
