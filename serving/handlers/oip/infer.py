"""ModelInfer: requests by themselves, and those of sequences, whose state is kept from one call to the next."""

from collections.abc import Sequence as ManyOf
from typing import TYPE_CHECKING

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.access.callers import Visible
from polserve.serving.catalog import Catalog, CatalogEntry
from polserve.serving.episodes import OpenStreams
from polserve.serving.errors import UnknownModel, UnknownModelVersion, UnknownPolicy, UnknownVersion
from polserve.serving.handlers.acting import ActingHandler, Resolve
from polserve.serving.handlers.dialect import Asked
from polserve.serving.handlers.oip.dialect import InferForm, OfSequence
from polserve.serving.handlers.oip.parameters import SEQUENCE_ID
from polserve.serving.handlers.oip.playing import SequencePlayer
from polserve.serving.handlers.oip.sequences import Sequences
from polserve.serving.inference.inference import Inference, Post
from polserve.serving.methods import FORESEEN_BYTES, Call
from polserve.serving.policy import Policy

if TYPE_CHECKING:
    from polserve.serving.inference.waiting import Question

MOST_CALLERS = 64
"""Callers without an open sequence that are remembered, at most."""


def resolver(catalog: Catalog) -> Resolve:
    """Make what finds the version that a model's name and version stand for, with errors in the protocol's words."""

    def resolve(name: str, version: str, policies: Visible | None) -> Policy:
        try:
            return catalog.resolve(name, version, policies)
        except UnknownPolicy as error:
            raise UnknownModel(name, catalog.live(policies)) from error
        except UnknownVersion as error:
            live = catalog.policy(name, policies)
            raise UnknownModelVersion(name, version, live.versions, live.aliases) from error

    return resolve


def find_entry(catalog: Catalog, name: str, policies: Visible | None) -> CatalogEntry:
    """Return the live versions of a model, with an error in the protocol's words."""
    try:
        return catalog.policy(name, policies)
    except UnknownPolicy as error:
        raise UnknownModel(name, catalog.live(policies)) from error


class InferHandler(ActingHandler[pb.ModelInferRequest, InferForm]):
    """Answers ModelInferRequests."""

    def __init__(
        self, player: SequencePlayer, resolve: Resolve, inference: Inference, streams: OpenStreams, post: Post
    ) -> None:
        """`player` answers the requests of sequences; `post` has a function called by the loop's thread."""
        super().__init__(player.dialect, resolve, inference, post)
        self._player = player
        self._streams = streams
        self._sequences: dict[str, Sequences] = {}
        """Open sequences by who plays them: nobody steps those of another."""
        self._questions: list[Question] = []

    def handle(self, calls: ManyOf[Call]) -> None:
        """Answer the calls, those that ask alike together, and those of sequences together."""
        super().handle(calls)
        questions, self._questions = self._questions, []
        if questions:
            self._inference.ask(questions)

    def _foresee(self, call: Call, beginning: bytes, *, is_coming: bool) -> None:
        """Refuse a call that would wait for too long, but no step of a sequence; raises Overloaded."""
        if SEQUENCE_ID.encode() not in beginning[:FORESEEN_BYTES]:  # parameters come before the numbers
            super()._foresee(call, beginning, is_coming=is_coming)

    def read(self, call: Call) -> Asked[pb.ModelInferRequest] | None:
        """Read a call's request; None where it belongs to a sequence, as which it is answered."""
        try:
            return self._dialect.read(call.message)
        except OfSequence as found:
            caller = call.caller.name
            sequences = self._sequences.get(caller)
            if sequences is None:
                self._drop_empty()
                sequences = self._sequences[caller] = Sequences(None, self._streams)
            call.wait()
            question = self._player.play(call, sequences, found.request, found.parameters)
            if question is not None:
                self._questions.append(question)
            return None

    def _drop_empty(self) -> None:
        """Forget the callers that play no sequence any more."""
        if len(self._sequences) >= MOST_CALLERS:
            self._sequences = {name: sequences for name, sequences in self._sequences.items() if len(sequences)}
