"""Responses of the Open Inference Protocol as tests read them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.handlers.oip.tensors import DATATYPES


def output_arrays(response: pb.ModelInferResponse) -> dict[str, NDArray[Any]]:
    """Return the outputs of a response by name."""
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {one.name: np.frombuffer(raw, DATATYPES[one.datatype]).reshape(tuple(one.shape)) for one, raw in pairs}
