"""Streams of the Open Inference Protocol when the service ends, or another version goes live."""

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_version

OBSERVATION = make_version().golden["observation"][:1]


class Stream:
    """A stream of requests, each of which is answered before the next."""

    def __init__(self, channel: grpc.Channel) -> None:
        call: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        self._requests = queue.SimpleQueue[bytes | None]()
        self.answers = call(iter(self._requests.get, None), timeout=60)

    def ask(self, **flags: bool) -> pb.ModelStreamInferResponse:
        """Ask for the next action of sequence 1, or of none."""
        request = pb.ModelInferRequest(model_name="cartpole", raw_input_contents=[OBSERVATION.tobytes()])
        request.inputs.add(name="observation", datatype="FP32", shape=OBSERVATION.shape)
        for name, value in flags.items():
            request.parameters[name].bool_param = value
        if flags:
            request.parameters["sequence_id"].int64_param = 1
        self._requests.put(request.SerializeToString())
        return pb.ModelStreamInferResponse.FromString(next(self.answers))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    make_version().write(tmp_path / "policies" / "cartpole" / "1")
    folder = str(tmp_path / "policies")
    with service("--policies", folder, "--poll-interval", "0.2", folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        yield running


def test_an_open_sequence_is_played_to_its_end_while_the_service_ends(running: Running) -> None:
    with grpc.insecure_channel(running.target) as channel:
        playing, idle = Stream(channel), Stream(channel)
        assert playing.ask(sequence_start=True).infer_response.outputs
        assert idle.ask().infer_response.outputs
        running.process.terminate()
        with pytest.raises(grpc.RpcError, match="draining"):
            next(idle.answers)
        assert playing.ask(sequence_start=False).infer_response.outputs
        assert playing.ask(sequence_end=True).infer_response.outputs
        with pytest.raises(grpc.RpcError, match="draining") as ended:
            next(playing.answers)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
    assert running.process.wait(60) == 0


def test_a_sequence_keeps_its_version_when_another_goes_live(running: Running, tmp_path: Path) -> None:
    with grpc.insecure_channel(running.target) as channel:
        stream = Stream(channel)
        stream.ask(sequence_start=True)
        make_version(1).write(tmp_path / "policies" / "cartpole" / "2")
        wait_until(lambda: stream.ask().infer_response.model_version == "2", running.log)
        assert stream.ask(sequence_start=False).infer_response.model_version == "1"
        assert stream.ask(sequence_start=True).infer_response.model_version == "2"
