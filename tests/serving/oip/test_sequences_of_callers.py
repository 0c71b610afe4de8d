"""What becomes of a sequence that its caller may not play, or that was begun by a request that is refused."""

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.access.callers import Caller, Role, visible
from polserve.serving.episodes import EpisodeLimits, OpenStreams
from polserve.serving.errors import InvalidRequest, UnknownModel
from polserve.serving.handlers.oip.dialect import InferDialect
from polserve.serving.handlers.oip.infer import InferHandler, resolver
from polserve.serving.handlers.oip.playing import SequencePlayer
from tests.support.calls import ReceivedCall, Runs, catalog_of, inference_of
from tests.support.versions import make_version


class NoCounter:
    """Counts nothing."""

    def count_episode(self, *_: object, **__: object) -> None:
        """Do nothing."""


class Player:
    """Plays sequences of one policy by unary calls."""

    def __init__(self) -> None:
        catalog, inference = catalog_of(make_version()), inference_of(Runs())
        self.streams = OpenStreams(EpisodeLimits(9, 1 << 20, 60.0, 60.0), catalog.is_live, lambda _n: None)
        resolve = resolver(catalog)
        player = SequencePlayer(InferDialect(), resolve, NoCounter())
        self._handler = InferHandler(player, resolve, inference, self.streams, lambda posted: posted())

    def call(self, *policies: str, is_start: bool = False, n: int = 1) -> ReceivedCall:
        """Call with n observations, as one who sees these policies."""
        observation = make_version().golden["observation"][:n]
        tensor = pb.ModelInferRequest.InferInputTensor(name="observation", datatype="FP32", shape=observation.shape)
        request = pb.ModelInferRequest(
            model_name="cartpole", inputs=[tensor], raw_input_contents=[observation.tobytes()]
        )
        request.parameters["sequence_id"].string_param = "mine"
        request.parameters["sequence_start"].bool_param = is_start
        asked = ReceivedCall(request)
        asked.caller = Caller("robot", Role.ACT, visible(policies))
        self._handler.handle([asked])
        return asked


def test_who_is_shut_out_of_a_policy_cannot_go_on_with_a_sequence_of_it() -> None:
    player = Player()
    assert player.call("cartpole", is_start=True).replies
    assert player.call("cart*").replies
    refused = player.call("maze")
    assert isinstance(refused.error, UnknownModel)
    assert not refused.replies


def test_a_start_that_is_refused_leaves_no_sequence_open() -> None:
    player = Player()
    assert isinstance(player.call("cartpole", is_start=True, n=2).error, InvalidRequest)
    assert player.streams.n_open == 0
    assert player.call("cartpole", is_start=True).replies
    assert isinstance(player.call("cartpole", n=2).error, InvalidRequest)
    assert player.streams.n_open == 1, "one that had begun goes on"
    assert player.call("cartpole").replies
