import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import DTYPES, TensorError, cast, to_array, to_tensor

DTYPE_STRATEGY = st.sampled_from(list(DTYPES.values()))


@given(array=hnp.arrays(DTYPE_STRATEGY, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_an_array_comes_back_bit_by_bit(array: np.ndarray) -> None:
    message = pb.Tensor.FromString(to_tensor(array).SerializeToString())
    back = to_array(message)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_a_big_endian_array_travels_little_endian() -> None:
    assert to_array(to_tensor(np.array([1.5, 2.5], ">f4"))).tolist() == [1.5, 2.5]


@pytest.mark.parametrize(("shape", "expected"), [((), (2, 4)), ((8,), (8,)), ((2, 4), (2, 4)), ((1, 8), (1, 8))])
def test_values_without_a_shape_fill_a_batch_of_items(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    tensor = pb.Tensor(values=range(8), shape=shape)
    assert to_array(tensor, np.dtype(np.float32), (4,)).shape == expected


def test_values_take_the_dtype_that_is_asked_for() -> None:
    array = to_array(pb.Tensor(values=[0, 255]), np.dtype(np.uint8), (2,))
    assert array.dtype == np.uint8
    assert array.tolist() == [0, 255]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (pb.Tensor(dtype=pb.FLOAT32, shape=[4], data=b"12345678"), "data: expected 16 bytes for FLOAT32 (4,), got 8"),
        (pb.Tensor(dtype=pb.FLOAT32, shape=[-4], data=b"1234"), "shape: expected extents of at least 0, got (-4,)"),
        (
            pb.Tensor(dtype=pb.FLOAT32, shape=[2**62, 2**62], data=b"1234"),
            "data: expected 85070591730234615865843651857942052864 bytes",
        ),
        (pb.Tensor(dtype=pb.FLOAT32, shape=[1] * 100, data=b"1234"), "shape: expected at most 32 axes, got 100"),
        (pb.Tensor(dtype=pb.FLOAT32, shape=[0, 2**62, 2**62]), "shape: expected one that an array can have"),
        (pb.Tensor(), "data: expected data, or values, got an empty tensor"),
        (pb.Tensor(shape=[1], data=b"1234"), "dtype: expected one of FLOAT32"),
        (pb.Tensor(values=[1, 2, 3], shape=[2]), "values: expected 2 values for the shape (2,), got 3 values"),
        (pb.Tensor(values=[1, 2, 3, 4, 5]), "values: expected 4 values for the shape (4,), got 5 values"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(tensor: pb.Tensor, message: str) -> None:
    with pytest.raises(TensorError) as refusal:
        to_array(tensor, np.dtype(np.float32), (4,))
    assert message in str(refusal.value)


@pytest.mark.parametrize("value", [-1.0, 256.0, 0.5, float("nan"), float("inf")])
def test_values_that_are_no_integers_of_the_type_are_refused(value: float) -> None:
    with pytest.raises(TensorError, match="expected whole numbers from 0 to 255"):
        to_array(pb.Tensor(values=[value]), np.dtype(np.uint8), (1,))


def test_an_array_that_the_wire_cannot_carry_is_refused() -> None:
    with pytest.raises(TensorError, match="expected float32 or"):
        to_tensor(np.zeros(2, np.complex64))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (np.array([2**24 + 2, -(2**62), -(2**63), 0]), np.float32),
        (np.array([-(2.0**63)]), np.int64),
        (np.array([2**31 - 1.0]), np.int32),
        (np.array([np.inf]), np.float32),
        (np.array([0, 1]), np.bool_),
    ],
)
def test_a_cast_keeps_every_number(given: np.ndarray, wanted: type[np.generic]) -> None:
    assert cast(given, np.dtype(wanted)).tolist() == given.tolist()


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (np.int64(2**24 + 1), np.float32),
        (np.int64(2**53 + 1), np.float64),
        (np.float64(2**63), np.int64),
        (np.int64(300), np.uint8),
        (np.int64(2), np.bool_),
        (np.float64(np.nan), np.int32),
        (np.float64(1e39), np.float32),
    ],
)
def test_a_cast_that_would_change_a_number_is_refused(number: np.generic, wanted: type[np.generic]) -> None:
    with pytest.raises(TensorError, match=r"values: expected .* at \[1\]"):
        cast(np.array([0, number]), np.dtype(wanted))
