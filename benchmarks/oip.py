"""Requests of the Open Inference Protocol v2, and MLServer and KServe around the bundled CartPole model."""

import contextlib
import json
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.load import Server, free_port, process_of
from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.protos.shared.names import MODEL_FILE
from polserve.serving.settings.settings import BUNDLED_POLICIES

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


OBSERVATION = np.array([[0.01, 0.02, 0.03, 0.04]], np.float32)
_INPUT = pb.ModelInferRequest.InferInputTensor(name="observation", datatype="FP32", shape=OBSERVATION.shape)


def _typed() -> bytes:
    contents = pb.InferTensorContents(fp32_contents=OBSERVATION.ravel().tolist())
    request = pb.ModelInferRequest(model_name="cartpole", inputs=[_INPUT])
    request.inputs[0].contents.CopyFrom(contents)
    return request.SerializeToString()


MESSAGE = _typed()
"""A ModelInferRequest with one observation in typed contents, which every server takes."""
RAW = pb.ModelInferRequest(
    model_name="cartpole", inputs=[_INPUT], raw_input_contents=[OBSERVATION.tobytes()]
).SerializeToString()
"""The same in raw contents, as Triton's client sends it."""


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
