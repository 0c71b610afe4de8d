"""ModelStreamInfer: requests in turn; those with a sequence id play episodes, whose state the stream keeps."""

from collections.abc import Sequence as ManyOf
from typing import TYPE_CHECKING

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.episodes import OpenStreams
from polserve.serving.handlers.base import Quiet
from polserve.serving.handlers.codec import parse
from polserve.serving.handlers.oip.infer import InferHandler
from polserve.serving.handlers.oip.parameters import check_alone, read_parameters, sequence_id
from polserve.serving.handlers.oip.playing import SequencePlayer
from polserve.serving.handlers.oip.sequences import Sequences
from polserve.serving.handlers.oip.turn import Turn
from polserve.serving.inference.inference import Inference
from polserve.serving.methods import Call

if TYPE_CHECKING:
    from polserve.serving.inference.waiting import Question


class StreamInferHandler(Quiet):
    """Answers the requests of streams; a request that is refused leaves its stream open."""

    def __init__(self, infer: InferHandler, player: SequencePlayer, inference: Inference, streams: OpenStreams) -> None:
        """`infer` answers the requests that belong to no sequence."""
        self._infer = infer
        self._player = player
        self._inference = inference
        self._streams = streams
        self._sequences: dict[Call, Sequences] = {}

    def open(self, call: Call) -> None:
        """Let a stream begin; raises where there are too many."""
        self._streams.open(call)
        self._sequences[call] = Sequences(call, self._streams)

    def close(self, call: Call) -> None:
        """Forget the stream, and its sequences."""
        sequences = self._sequences.pop(call, None)
        if sequences is not None:
            sequences.end_all()
        self._streams.close(call)

    def handle(self, calls: ManyOf[Call]) -> None:
        """Answer one request of each stream, those of sequences together, and the others together."""
        alone: list[Turn] = []
        questions: list[Question] = []
        for call in calls:
            turn = Turn(call)
            try:
                request = parse(pb.ModelInferRequest, call.message)
                parameters = read_parameters(request.parameters) if request.parameters else {}
                if sequence_id(parameters) is None:
                    check_alone(parameters)
                    alone.append(turn)
                    continue
                question = self._player.play(turn, self._sequences[call], request, parameters)
            except Exception as error:  # noqa: BLE001 - every error must become a response or a status
                turn.fail(error)
                continue
            if question is not None:
                questions.append(question)
        if alone:
            self._infer.handle(alone)
        if questions:
            self._inference.ask(questions)
