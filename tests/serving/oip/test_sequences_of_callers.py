"""A sequence is its caller's for as long as they see its policy."""

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.access.callers import Caller, Role, visible
from polserve.serving.episodes import EpisodeLimits, OpenStreams
from polserve.serving.errors import UnknownModel
from polserve.serving.handlers.oip.dialect import InferDialect
from polserve.serving.handlers.oip.infer import InferHandler, resolver
from polserve.serving.handlers.oip.playing import SequencePlayer
from tests.support.calls import ReceivedCall, Runs, catalog_of, inference_of
from tests.support.versions import make_version


class NoCounter:
    """Counts nothing."""

    def count_episode(self, *_: object, **__: object) -> None:
        """Do nothing."""


def test_who_is_shut_out_of_a_policy_cannot_go_on_with_a_sequence_of_it() -> None:
    catalog, inference = catalog_of(make_version()), inference_of(Runs())
    streams = OpenStreams(EpisodeLimits(9, 1 << 20, 60.0, 60.0), catalog.is_live, lambda _n: None)
    resolve = resolver(catalog)
    player = SequencePlayer(InferDialect(), resolve, NoCounter())
    handler = InferHandler(player, resolve, inference, streams, lambda posted: posted())

    def call(*policies: str, is_start: bool = False) -> ReceivedCall:
        observation = make_version().golden["observation"][:1]
        tensor = pb.ModelInferRequest.InferInputTensor(name="observation", datatype="FP32", shape=observation.shape)
        request = pb.ModelInferRequest(
            model_name="cartpole", inputs=[tensor], raw_input_contents=[observation.tobytes()]
        )
        request.parameters["sequence_id"].string_param = "mine"
        request.parameters["sequence_start"].bool_param = is_start
        asked = ReceivedCall(request)
        asked.caller = Caller("robot", Role.ACT, visible(policies))
        handler.handle([asked])
        return asked

    assert call("cartpole", is_start=True).replies
    assert call("cart*").replies
    refused = call("maze")
    assert isinstance(refused.error, UnknownModel)
    assert not refused.replies
