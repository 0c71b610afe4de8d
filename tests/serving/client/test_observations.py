"""Observations arrive as they were given, or are refused before anything is sent."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polserve.protos.tensors import to_array
from polserve.serving.client import InvalidArgument
from polserve.serving.client.observations import batch_of, observation_tensor


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
        assert (expected.dtype.kind, expected.dtype.itemsize) == ("u", 8)
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
        bytearray(b"\x01\x02"),
        [np.float64(1), np.float16(2)],
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
    ("observation", "message"),
    [
        (["a"], "expected real numbers of at most 64 bits, got <U1"),
        ([None], "expected real numbers of at most 64 bits, got NoneType"),
        ([2**64], "expected whole numbers below 2^63 in size, got 18446744073709551616; write a float"),
        ([np.int64(2**53 + 1), 0.5], "expected numbers that float64 holds beside its floats, got 9007199254740993"),
        ([np.array(2**53 + 1), 0.5], "expected numbers that float64 holds beside its floats, got 9007199254740993"),
        (
            np.ma.array([0.0, 1.0], mask=[False, True]),
            "expected a number in every place, got a masked array that hides some",
        ),
        (
            [2**63],
            "expected whole numbers from -9223372036854775808 to",
        ),
        ([2**60 + 1, 0.5], "expected numbers that float64 holds beside its floats, got 1152921504606846977"),
        ([[1, 2], [3]], "expected numbers in lists of equal lengths"),
        (np.zeros(4, np.complex64), "expected real numbers of at most 64 bits, got complex64"),
    ],
)
def test_what_is_no_number_is_refused_before_it_is_sent(observation: Any, message: str) -> None:
    with pytest.raises(ValueError, match="observation: ") as refusal:
        observation_tensor(observation)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        ([np.array([2**53 + 1]), np.array([0.5])], "expected numbers that float64 holds beside floats"),
        ([np.array([2**63 + 1], np.uint64), np.array([-1])], "expected numbers that float64 holds beside floats"),
        ([np.zeros(3), np.zeros(4)], "expected at least one, all of one shape, got (3,), (4,)"),
        ([], "expected at least one, all of one shape, got none"),
    ],
)
def test_what_makes_no_batch_is_refused_before_it_is_sent(observations: Any, message: str) -> None:
    with pytest.raises(ValueError, match="observations: ") as refusal:
        batch_of(observations)
    assert message in str(refusal.value)
