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
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polserve.serving.client import AsyncPolicyClient, BudgetDay, ClientError, InvalidArgument, PolicyClient
from polserve.serving.client.arguments import name_and_version
from tests.support.client_arguments import Recorder, check_taken_or_refused, playing, refusal_of


class Secretive:
    """Raises whatever is asked of it."""

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __index__(self) -> int:
        raise RuntimeError("no index")

    def __array__(self, *_: object, **__: object) -> NoReturn:
        raise RuntimeError("no array")


def looped() -> list[Any]:
    """Return a list that holds itself."""
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


@given(value=anything)
def test_whatever_an_argument_is_it_is_taken_or_refused_by_name_before_it_is_sent(value: Any) -> None:
    check_taken_or_refused(value)


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
    ("reward", "expected"), [(None, None), (1, 1.0), (np.float32(0.5), 0.5), (np.array(2.0), 2.0), (True, 1.0)]
)
def test_a_reward_is_one_number_or_none(reward: Any, expected: float | None) -> None:
    request = playing().end(reward, truncated=False)
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
