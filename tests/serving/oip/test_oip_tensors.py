"""Tensors of the Open Inference Protocol become the arrays that they are, or are refused by name."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.errors import InvalidRequest
from polserve.serving.handlers.oip.tensors import CONTENTS, DATATYPES, read_tensor
from polserve.serving.http.infer_messages import pack

Tensor = pb.ModelInferRequest.InferInputTensor
Contents = pb.InferTensorContents


def typed(datatype: str, shape: list[int], **contents: Any) -> Tensor:
    return Tensor(name="observation", datatype=datatype, shape=shape, contents=Contents(**contents))


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
@given(values=st.lists(st.integers(0, 1), max_size=8))
def test_raw_typed_and_plain_contents_are_one_array(datatype: str, values: list[int]) -> None:
    array = np.array(values, DATATYPES[datatype])
    raw = Tensor(name="observation", datatype=datatype, shape=array.shape)
    read = [
        read_tensor(raw, array.tobytes()),
        read_tensor(typed(datatype, [len(values)], **{CONTENTS[datatype]: array.tolist()}), None),
        read_tensor(raw, pack("inputs[0]", "observation", datatype, array.shape, array.tolist())),
    ]
    for found in read:
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("tensor", "raw", "message"),
    [
        (Tensor(name="x", datatype="FP16", shape=[1]), b"ab", r"inputs\['x'\].datatype: .*, got 'FP16' \(send FP32\)"),
        (Tensor(name="x", datatype="BYTES", shape=[1]), b"", "got 'BYTES' .observations are numbers"),
        (Tensor(name="x", datatype="FLOAT32", shape=[1]), b"", "got 'FLOAT32'"),
        (Tensor(name="x", datatype="", shape=[1]), b"", "got ''"),
        (Tensor(name="x", datatype="FP32", shape=[-1]), b"", r"shape: expected extents of at least 0, got \[-1\]"),
        (Tensor(name="x", datatype="FP32", shape=[1] * 33), b"abcd", "at most 32 axes, got 33"),
        (Tensor(name="x", datatype="FP32", shape=[2]), b"abcd", r"expected 8 bytes for FP32 \[2\], got 4 bytes"),
        (Tensor(name="x", datatype="FP32", shape=[2**62, 0, 2**62]), b"", "one that an array can have"),
        (typed("FP32", [2], fp32_contents=[1]), None, r"2 values for the shape \[2\], got 1 in fp32_contents"),
        (typed("FP32", [1], int_contents=[1]), None, "contents: expected fp32_contents for FP32, got int_contents"),
        (typed("INT8", [1], int_contents=[300]), None, "whole numbers from -128 to 127, got 300"),
        (typed("FP32", [1]), None, "got 0 in fp32_contents"),
    ],
)
def test_a_tensor_that_is_none_is_refused_by_name(tensor: Tensor, raw: bytes | None, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_tensor(tensor, raw)


@pytest.mark.parametrize(
    ("datatype", "values", "message"),
    [
        ("FP32", [True], "expected numbers for FP32, got true or false"),
        ("FP32", ["1"], "expected numbers, in lists of equal lengths"),
        ("FP32", [None], "expected numbers, in lists of equal lengths"),
        ("FP32", [1e39], "numbers that float32 holds, got 1e\\+39"),
        ("INT64", [10**30], r"whole numbers from -9223372036854775808 to 9223372036854775807, got 1e\+30"),
        ("UINT8", [256], "whole numbers from 0 to 255, got 256"),
        ("INT32", [0.5], "whole numbers"),
        ("BOOL", [0.5], "expected"),
        ("BOOL", [2], "expected"),
        ("FP32", [1, 2], r"1 values for the shape \[1\], got 2"),
    ],
)
def test_values_that_a_datatype_does_not_hold_are_refused(datatype: str, values: list[Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        pack("inputs[0]", "x", datatype, (1,), values)


def test_whole_numbers_that_no_float_holds_keep_their_value() -> None:
    large = 2**63 - 1
    assert np.frombuffer(pack("inputs[0]", "x", "INT64", (1,), [large]), "<i8").tolist() == [large]
    assert np.frombuffer(pack("inputs[0]", "x", "UINT64", (2,), [large, 1]), "<u8").tolist() == [large, 1]


def test_uint64_in_json_is_exact_up_to_its_greatest() -> None:
    sent = [2**53 + 1, 2**63, 2**64 - 1]
    assert np.frombuffer(pack("x", "x", "UINT64", [3], sent), np.uint64).tolist() == sent
    with pytest.raises(InvalidRequest, match=r"got -1"):
        pack("x", "x", "UINT64", [2], [2**63, -1])
