"""Calls that no carrier received: what a handler is asked, and what it answered."""

import time
from typing import Any

import numpy as np
from google.protobuf.message import Message

from polserve.protos.shared.names import CHAMPION
from polserve.serving.access.callers import ANYBODY
from polserve.serving.catalog import Catalog, CatalogEntry
from polserve.serving.inference.inference import Capacity, Inference
from polserve.serving.methods import Method
from polserve.serving.policy import Policy
from polserve.serving.request_ids import RequestId
from polserve.serving.versions import Pace
from polserve.serving.workers.epoch import LocalEpoch
from polserve.training.versions.version import PolicyVersion

FAST = Pace(1e-6, 1e-7, is_batched=True)


class ReceivedCall:
    """A call, as a handler sees it, that keeps what it was told."""

    def __init__(self, request: Message, *, is_wanted: bool = True) -> None:
        self.ask(request)
        self.is_over = False
        self.state: Any = None
        self.caller = ANYBODY
        self.deadline: float | None = None
        self.request_id = RequestId()
        self.active_at = time.monotonic()
        self.replies: list[bytes] = []
        self.error: BaseException | None = None
        self._is_wanted = is_wanted

    @property
    def method(self) -> Method:
        """No handler asks for it."""
        raise AssertionError("a handler asked which method it answers")

    def ask(self, request: Message) -> None:
        """Let the client send a message."""
        self.message = request.SerializeToString()
        self.size = len(self.message)

    def is_wanted(self) -> bool:
        """Whether somebody still waits."""
        return self._is_wanted

    def reply(self, response: bytes) -> None:
        """Keep the response."""
        self.replies.append(response)

    def fail(self, error: BaseException) -> None:
        """Keep the error, which ends the call."""
        self.error = error
        self.is_over = True

    def finish(self) -> None:
        """End the stream."""
        self.is_over = True

    def wait(self) -> None:
        """It waits for as long as the test does."""


class Runs:
    """Counts the observations of each run of a model."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def count_run(self, _policy: Policy, answer: Any, _seconds: float, _waited: object) -> None:
        """Keep the size of a run."""
        self.sizes.append(len(answer.actions))


def catalog_of(*versions: PolicyVersion, pace: Pace = FAST) -> Catalog:
    """A catalog in which each of the versions is the champion of its policy, version 1."""
    loaded = [Policy.of_model(each.spec.name, "1", each.model.SerializeToString(), pace) for each in versions]
    epoch = LocalEpoch()
    catalog = Catalog([], epoch)
    catalog.stage(1, {one.name: CatalogEntry(one.name, {"1": one}, {CHAMPION: "1"}) for one in loaded})
    epoch.write(1)
    return catalog


def inference_of(runs: Runs) -> Inference:
    """What runs the models, with no thread to post from: the versions of `catalog_of` are fast."""
    return Inference(runs, np.random.default_rng(0), Capacity(max_waiting=4, max_batch=64), lambda posted: posted())
