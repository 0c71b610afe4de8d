"""Whatever an argument is, it is taken with one meaning, or refused by name before anything is sent."""

import datetime as dt
import decimal
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import grpc
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polserve.protos.polserve.v1 import budget_pb2
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_array, to_tensor
from polserve.serving.client import AsyncPolicyClient, BudgetDay, ClientError, InvalidArgument, PolicyClient
from polserve.serving.client.arguments import connections_of, name_and_version, options_of, timeout_of
from polserve.serving.client.messages import Call, EpisodeMessages, T
from polserve.serving.client.observations import batch_of, observation_tensor
from polserve.serving.client.target import full_target

ANSWERS = {
    "Act": pb.ActResponse(version="1", action=to_tensor(np.zeros((), np.int64))),
    "Allocate": budget_pb2.AllocateResponse(allocations=[budget_pb2.Allocation(name="a")]),
}


class Recorder:
    """Keeps what would be sent, and answers."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def call(self, call: Call[T]) -> T:
        self.sent.append(call.request)
        return call.read(ANSWERS[call.method])

    def open_stream(self) -> NoReturn:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


def refusal_of(action: Callable[[], object]) -> InvalidArgument | None:
    """What an action was refused with; None where it was done."""
    try:
        action()
    except InvalidArgument as refusal:
        return refusal
    return None


class Secretive:
    """Raises whatever is asked of it."""

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __index__(self) -> int:
        raise RuntimeError("no index")

    def __array__(self, *_: object, **__: object) -> NoReturn:
        raise RuntimeError("no array")


def looped() -> list[Any]:
    """A list that holds itself."""
    loop: list[Any] = []
    loop.append(loop)
    return loop


ODD = [
    None,
    True,
    np.bool_(1),
    0,
    -1,
    7,
    2**63,
    -(2**64),
    0.5,
    math.nan,
    math.inf,
    1e300,
    1j,
    "",
    "7",
    "@next",
    "cartpole",
    "champion",
    "\udc80",
    "a b",
    b"cartpole",
    bytearray(b"ab"),
    memoryview(b"ab"),
    np.float32(0.25),
    np.int8(3),
    np.uint64(2**64 - 1),
    np.float16(np.inf),
    np.longdouble(1),
    np.str_("cartpole"),
    np.datetime64("2026-11-26"),
    np.array(0.5),
    np.array([1.0]),
    np.array([1, 2.5], object),
    np.array(["a"]),
    np.zeros((0, 4)),
    np.zeros((2, 3, 4)).T,
    np.zeros(4, ">f8"),
    np.zeros(2, "i4,i4"),
    np.zeros((), "i4,i4"),
    np.zeros(2, "V3"),
    np.ma.array([1.0, 2.0], mask=[False, True]),
    np.ma.array([1.0, 2.0]),
    [np.ma.array([1.0, 2.0], mask=[False, True])],
    [1.0, np.ma.masked],
    [[1, 2], [3]],
    [],
    {},
    {"a": 1},
    {1, 2},
    (1, 2),
    range(3),
    looped(),
    torch.zeros(4),
    torch.zeros(2, requires_grad=True),
    torch.zeros(2, dtype=torch.bfloat16),
    torch.tensor(1.5),
    pd.Series([1, 2]),
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    pd.NA,
    decimal.Decimal("0.1"),
    dt.date(2026, 11, 26),
    dt.timedelta(seconds=1),
    Path("policies/cartpole/1"),
    object(),
    int,
    len,
    Secretive(),
    [Secretive()],
    AsyncPolicyClient,
]
"""Things that somebody may pass where something else was meant."""

anything = st.one_of(
    st.sampled_from(ODD),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    hnp.arrays(
        st.sampled_from(["?", "i1", "u8", ">i4", "f2", "<f8", ">f4", "c8", "M8[s]", "m8[D]", "U2", "S2"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        fill=st.nothing(),
    ),
    st.lists(st.one_of(st.sampled_from(ODD), st.integers(), st.floats()), max_size=4),
    st.recursive(st.integers() | st.floats(), lambda inner: st.lists(inner, max_size=3), max_leaves=9),
)

ARGUMENTS: dict[str, Callable[[PolicyClient, Any], object]] = {
    "policy": lambda client, value: client.act(value, [0.0]),
    "version": lambda client, value: client.act("cartpole", [0.0], version=value),
    "observation": lambda client, value: client.act("cartpole", value),
    "observations": lambda client, value: client.act_batch("cartpole", value),
    "with_values": lambda client, value: client.act("cartpole", [0.0], with_values=value),
    "epsilon": lambda client, value: client.act("cartpole", [0.0], epsilon=value),
    "target": lambda _, value: full_target(value),
    "reward": lambda _, value: EpisodeMessages("cartpole", "", with_values=False, epsilon=0).end(
        value, truncated=False
    ),
    "timeout_s": lambda _, value: timeout_of(value),
    "connections": lambda _, value: connections_of(value),
    "options": lambda _, value: options_of(value),
    "truncated": lambda _, value: EpisodeMessages("cartpole", "", with_values=False, epsilon=0).end(
        None, truncated=value
    ),
}


@given(value=anything)
def test_whatever_an_argument_is_it_is_taken_or_refused_by_name_before_it_is_sent(value: Any) -> None:
    for argument, use in ARGUMENTS.items():
        recorder = Recorder()
        client = PolicyClient.over(recorder)
        refusal = refusal_of(lambda: use(client, value))  # noqa: B023 - called at once
        if refusal is not None:
            assert refusal.argument == argument
            assert str(refusal) == f"{argument}: expected {refusal.expected}, got {refusal.got}"
            assert len(refusal.got) < 400
            assert "\n" not in str(refusal)
            assert not recorder.sent


DAY: dict[str, Any] = {
    "day": 0,
    "horizon_days": 30,
    "total_micros": 10,
    "remaining_micros": 10,
    "weekday": 0,
    "demand": None,
    "spent_micros": {"a": [1]},
    "floor_micros": {},
    "cap_micros": {},
}


@given(value=anything)
def test_whatever_a_field_of_a_day_is_it_is_taken_or_refused_by_name(value: Any) -> None:
    fields = [(name, value) for name in DAY] + [(name, {"a": value}) for name in DAY if name.endswith("_micros")]
    for name, given_value in fields:
        today = BudgetDay(**{**DAY, name: given_value})
        recorder = Recorder()
        refusal = refusal_of(lambda: PolicyClient.over(recorder).allocate("adbudget", today))  # noqa: B023
        if refusal is not None:  # without spends there are no channels that limits could be of
            assert name in refusal.argument or refusal.argument in {"floor_micros", "cap_micros"}
        assert bool(recorder.sent) == (refusal is None)


@given(value=anything)
def test_whatever_stands_for_a_day_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="today: expected a BudgetDay, got"):
        PolicyClient.over(Recorder()).allocate("adbudget", value)


@pytest.mark.parametrize("kind", [PolicyClient, AsyncPolicyClient])
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("timeout_s", value) for value in (0, -1, math.nan, math.inf, None, "10", dt.timedelta(seconds=1))),
        *(("connections", value) for value in (0, -1, 1.0, True, None, "2", 10_000)),
        *(("options", value) for value in (1, "grpc.enable_retries", [("a", 1)], {1: 1}, {"a": None}, {"a": 0.5})),
    ],
)
def test_what_no_client_can_be_made_with_is_refused_by_name(
    kind: Callable[..., Any], argument: str, value: Any
) -> None:
    with pytest.raises(InvalidArgument, match=f"{argument}: expected .*, got"):
        kind("localhost:1", **{argument: value})


@given(
    hnp.arrays(
        st.one_of(hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes()),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3),
    ),
    st.sampled_from(["plain", "transposed", "list", "object"]),
)
def test_an_observation_that_is_taken_arrives_as_it_was(array: Any, form: str) -> None:
    given_form = {"plain": array, "transposed": array.T, "list": array.tolist(), "object": array.astype(object)}[form]
    expected = array.T if form == "transposed" else array
    try:
        sent = to_array(observation_tensor(given_form))
    except InvalidArgument:
        assert expected.dtype == np.uint64
        assert expected.max() >= 2**63
    else:
        assert sent.shape == expected.shape
        assert np.array_equal(sent, expected, equal_nan=expected.dtype.kind == "f")


@pytest.mark.parametrize(
    "observation",
    [
        [1.0, 2.0],
        (1, 2),
        range(1, 3),
        np.array([1, 2], object),
        np.array([1, 9, 2, 9])[::2],
        np.ma.array([1.0, 2.0]),
        torch.tensor([1.0, 2.0]),
        pd.Series([1, 2]),
        bytearray(b"\x01\x02"),
        [torch.tensor(1.0), np.float16(2)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_holds_numbers_is_an_observation(observation: Any) -> None:
    assert to_array(observation_tensor(observation)).tolist() == [1, 2]


@pytest.mark.parametrize(
    "observations",
    [
        np.array([[1, 2], [3, 4]]),
        [np.array([1, 2]), np.array([3.0, 4.0])],
        (row for row in ([1, 2], [3, 4])),
        torch.tensor([[1, 2], [3, 4]]),
        [torch.tensor([1, 2]), torch.tensor([3, 4])],
        pd.DataFrame({"a": [1, 3], "b": [2, 4]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_holds_observations_is_a_batch(observations: Any) -> None:
    assert batch_of(observations).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "expected real numbers of at most 64 bits, got NoneType"),
        ("[0, 0]", "expected real numbers of at most 64 bits, got <U6 ()"),
        (
            np.ma.array([0.0, 1.0], mask=[False, True]),
            "expected a number in every place, got a masked array that hides some",
        ),
        ([np.ma.array([0.0, 1.0], mask=[False, True])], "expected a number in every place"),
        (torch.zeros(2, requires_grad=True), r"got Tensor \(Can't call numpy\(\) on Tensor that requires grad"),
        (np.array(["2026-11-26"], "M8[D]"), r"got datetime64\[D\] \(1,\)"),
        ([dt.date(2026, 11, 26)], "got date"),
        ([[1, 2], [3]], "expected numbers in lists of equal lengths, got list"),
        ({"position": 1}, "got dict"),
    ],
)
def test_what_is_no_observation_is_described(value: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"observation: .*{message}"):
        observation_tensor(value)


@pytest.mark.parametrize(
    ("policy", "version", "expected"),
    [
        ("cartpole", "", ("cartpole", "")),
        ("cartpole", None, ("cartpole", "")),
        ("cartpole", 1, ("cartpole", "1")),
        ("cartpole", np.int64(7), ("cartpole", "7")),
        ("cartpole", "7", ("cartpole", "7")),
        ("cartpole", "@next", ("cartpole", "@next")),
        ("cartpole/7", "", ("cartpole", "7")),
        ("cartpole@next", "", ("cartpole", "@next")),
        ("cartpole/@next", None, ("cartpole", "@next")),
        (np.str_("cartpole"), "", ("cartpole", "")),
    ],
)
def test_a_version_is_written_in_these_ways(policy: str, version: Any, expected: tuple[str, str]) -> None:
    assert name_and_version(policy, version) == expected


@pytest.mark.parametrize(
    ("policy", "version", "message"),
    [
        ("", "", "policy: expected a policy's name, such as 'cartpole', 'cartpole/1' or 'cartpole@champion', got ''"),
        (7, "", r"got 7 \(int\)"),
        (None, "", "got None"),
        (Path("cartpole"), "", r"got PosixPath\('cartpole'\) \(PosixPath\)"),
        ("cartpole/v1", "", "policy: .*got 'cartpole/v1'"),
        ("cartpole/", "", "policy: .*got 'cartpole/'"),
        ("cartpole/1", 2, r"version: expected none beside the policy 'cartpole/1', which names one, got 2 \(int\)"),
        ("cartpole", "champion", "version: expected '' or None for the champion, a number such as 7, or an alias such"),
        ("cartpole", 1.0, r"version: .*got 1.0 \(float\)"),
        ("cartpole", True, r"version: .*got True \(bool\)"),
        ("cartpole", -1, r"version: .*got -1 \(int\)"),
        ("cartpole", "@", "version: .*got '@'"),
    ],
)
def test_what_is_no_version_is_named(policy: Any, version: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        name_and_version(policy, version)


@pytest.mark.parametrize(
    ("target", "full"),
    [
        ("127.0.0.1", "127.0.0.1:50051"),
        ("localhost", "localhost:50051"),
        ("polserve.example", "polserve.example:50051"),
        ("[::1]", "[::1]:50051"),
        ("[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
        ("localhost:8080", "localhost:8080"),
    ],
)
def test_a_target_without_a_port_gets_the_default_one(target: str, full: str) -> None:
    assert full_target(target) == full


@pytest.mark.parametrize("kind", [PolicyClient, AsyncPolicyClient])
@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("http://localhost:50051", "leave out the scheme"),
        ("localhost:grpc", "the port is from 1 to 65535"),
        ("localhost:70000", "the port is from 1 to 65535"),
        ("localhost:\uff15", "the port is from 1 to 65535"),
        ("localhost:", "the port is from 1 to 65535"),
        (":50051", "the host is a name or an address"),
        ("a,b:1", "the host is a name or an address"),
        ("::1:50051", "an address of IPv6 stands in brackets"),
        ("::1", "an address of IPv6 stands in brackets"),
        (" localhost:50051\n", "leave out the white space around it"),
        ("", "leave it out for localhost:50051"),
        (None, "leave it out for localhost:50051"),
        (Path("policies"), "a file is no address; polserve.load reads a version from a folder"),
        (50051, "write it as text"),
        (b"localhost", "write it as text"),
    ],
)
def test_what_is_no_target_is_refused_with_what_to_do(kind: Callable[..., Any], target: Any, hint: str) -> None:
    with pytest.raises(InvalidArgument, match="target: expected host or host:port such as 'localhost:50051', got") as e:
        kind(target)
    assert hint in str(e.value)


@pytest.mark.parametrize(
    ("reward", "expected"), [(None, None), (1, 1.0), (np.float32(0.5), 0.5), (np.array(2.0), 2.0), (True, 1.0)]
)
def test_a_reward_is_one_number_or_none(reward: Any, expected: float | None) -> None:
    request = EpisodeMessages("cartpole", "", with_values=False, epsilon=0).end(reward, truncated=False)
    assert (request.end.reward if request.end.HasField("reward") else None) == expected


def test_amounts_of_numpy_are_taken_and_fractions_refused_with_their_place() -> None:
    recorder = Recorder()
    client = PolicyClient.over(recorder)
    today = BudgetDay(**{**DAY, "day": np.int8(1), "spent_micros": {"a": np.array([5, 6])}})
    client.allocate("adbudget", today)
    assert list(recorder.sent[0].channels[0].spent_micros) == [5, 6]
    wrong = BudgetDay(**{**DAY, "spent_micros": {"a": [5, 6.5]}})
    with pytest.raises(
        InvalidArgument, match=r"spent_micros\['a'\]\[1\]: expected a whole number .* got 6.5 \(float\)"
    ):
        client.allocate("adbudget", wrong)


def test_an_error_says_what_code_it_has_and_survives_being_sent_to_another_process() -> None:
    refusal = InvalidArgument("epsilon", "a probability from 0 to 1", "2")
    assert isinstance(refusal, (ClientError, ValueError))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    again = pickle.loads(pickle.dumps(refusal))  # noqa: S301 - our own
    assert (type(again), str(again)) == (InvalidArgument, "epsilon: expected a probability from 0 to 1, got 2")
    failure = pickle.loads(pickle.dumps(ClientError(grpc.StatusCode.UNAVAILABLE, "gone")))  # noqa: S301 - our own
    assert (failure.code, str(failure)) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE: gone")
