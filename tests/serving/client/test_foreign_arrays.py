"""Tensors of torch and tables of pandas, as any argument: the client imports neither."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from polserve.protos.tensors import to_array
from polserve.serving.client import InvalidArgument
from polserve.serving.client.observations import batch_of, observation_tensor
from tests.support.client_arguments import check_taken_or_refused

SPARSE = torch.zeros(2, 2).to_sparse()


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(4),
        torch.tensor(1.5),
        torch.tensor(True),
        torch.zeros(2, requires_grad=True),
        torch.tensor(1.5, requires_grad=True),
        torch.zeros(2, dtype=torch.bfloat16),
        [torch.zeros(2, requires_grad=True)],
        SPARSE,
        pd.Series([1, 2]),
        pd.Series([1, None], dtype="Int64"),
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        pd.Timestamp("2026-11-26"),
        pd.NA,
    ],
    ids=repr,
)
def test_as_any_argument_they_are_taken_or_refused_by_name(value: Any) -> None:
    check_taken_or_refused(value)


@pytest.mark.parametrize(
    "observation",
    [torch.tensor([1.0, 2.0]), torch.tensor([[1], [2]]).T[0], pd.Series([1, 2]), [torch.tensor(1.0), np.float16(2)]],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_numbers_is_an_observation(observation: Any) -> None:
    assert to_array(observation_tensor(observation)).tolist() == [1, 2]


@pytest.mark.parametrize(
    "observations",
    [
        torch.tensor([[1, 2], [3, 4]]),
        [torch.tensor([1, 2]), torch.tensor([3, 4])],
        pd.DataFrame({"a": [1, 3], "b": [2, 4]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_observations_is_a_batch(observations: Any) -> None:
    assert batch_of(observations).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2, requires_grad=True), r"got Tensor \(Can't call numpy\(\) on Tensor that requires grad"),
        (torch.zeros(2, dtype=torch.bfloat16), r"got Tensor \(Got unsupported ScalarType BFloat16"),
        (SPARSE, r"got Tensor \(can't convert Sparse layout tensor to numpy"),
        (pd.DataFrame({"a": [1], "b": ["x"]}), "expected real numbers of at most 64 bits, got str"),
    ],
    ids=repr,
)
def test_what_numpy_makes_no_array_of_is_refused_with_its_reason(value: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"observation: .*{message}"):
        observation_tensor(value)
