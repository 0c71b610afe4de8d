"""MLServer and KServe around the bundled CartPole model, and a request to them (Open Inference Protocol v2)."""

import contextlib
import json
import struct
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load import Server, free_port, process_of
from polserve.protos.shared.names import MODEL_FILE
from polserve.serving.settings import BUNDLED_POLICIES

METHOD = "inference.GRPCInferenceService/ModelInfer"
MODEL = BUNDLED_POLICIES / "cartpole" / "1" / MODEL_FILE

SESSION = f"""
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession({str(MODEL)!r}, options, providers=["CPUExecutionProvider"])
"""

MLSERVER = (
    SESSION
    + """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class CartPole(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        observation = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        action = session.run(["action"], {"observation": observation})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("action", action)])
"""
)

KSERVE = (
    SESSION
    + """
import sys
from kserve import InferOutput, InferResponse, Model, ModelServer

class CartPole(Model):
    def __init__(self):
        super().__init__("cartpole")
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        action = session.run(["action"], {"observation": payload.inputs[0].as_numpy()})[0]
        output = InferOutput(name="action", shape=list(action.shape), datatype="INT64")
        output.set_data_from_numpy(action, binary_data=False)
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=[output])

grpc_port, http_port = map(int, sys.argv[1:])
ModelServer(http_port=http_port, grpc_port=grpc_port, enable_grpc=True, workers=1).start([CartPole()])
"""
)


def _field(number: int, content: bytes) -> bytes:
    """Write a length-delimited field of a protobuf message shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def _message() -> bytes:
    shape, contents = bytes([1, 4]), struct.pack("<4f", 0.01, 0.02, 0.03, 0.04)
    tensor = _field(1, b"observation") + _field(2, b"FP32") + _field(3, shape) + _field(5, _field(6, contents))
    return _field(1, b"cartpole") + _field(5, tensor)


MESSAGE = _message()
"""A ModelInferRequest with one FP32 observation: model_name=1, inputs=5 {name=1 datatype=2 shape=3 contents=5}."""


@contextlib.contextmanager
def serve(name: str, python: Path) -> Iterator[Server]:
    """MLServer or KServe, by its name, run by the Python of an environment that has it and onnxruntime."""
    grpc_port, http_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        if name == "mlserver":
            (Path(folder) / "model.py").write_text(textwrap.dedent(MLSERVER))
            model = {"name": "cartpole", "implementation": "model.CartPole"}
            (Path(folder) / "model-settings.json").write_text(json.dumps(model))
            settings = {
                "host": "127.0.0.1",
                "grpc_port": grpc_port,
                "http_port": http_port,
                "metrics_port": free_port(),
                "parallel_workers": 0,
                "debug": False,
            }
            (Path(folder) / "settings.json").write_text(json.dumps(settings))
            command = [str(python.with_name("mlserver")), "start", folder]
        else:
            (Path(folder) / "model.py").write_text(textwrap.dedent(KSERVE))
            command = [str(python), str(Path(folder) / "model.py"), str(grpc_port), str(http_port)]
        with process_of(command, cwd=Path(folder)) as process:
            yield Server(grpc_port, [process.pid], METHOD)
