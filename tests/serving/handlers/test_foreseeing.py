"""A call for a version that too much waits for is refused by the first bytes of its request."""

import math
import time

import numpy as np
import pytest

from polserve.protos.polserve.oip.v2 import inference_pb2 as oip
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.errors import Overloaded
from polserve.serving.handlers.act import ActHandler
from polserve.serving.handlers.foreseeing import leading_names
from polserve.serving.inference.inference import Capacity, Inference
from polserve.serving.inference.waiting import Question
from polserve.serving.versions import Pace
from tests.support.calls import ReceivedCall, Runs, catalog_of
from tests.support.versions import make_version

OBSERVATION = make_version().golden["observation"][0]
SLOW = Pace(0.01, 0.01)
"""Runs of the model take 10 ms, alone and in a batch."""


def act(name: str = "cartpole", version: str = "") -> bytes:
    return pb.ActRequest(policy=name, version=version, observation=to_tensor(OBSERVATION)).SerializeToString()


def infer(version: str) -> bytes:
    return oip.ModelInferRequest(model_name="cartpole", model_version=version, id="x").SerializeToString()


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (act(), ("cartpole", "")),
        (act(version="@challenger"), ("cartpole", "@challenger")),
        (act("zügig", "7"), ("zügig", "7")),
        (infer("3"), ("cartpole", "3")),
        (infer(""), ("cartpole", "")),
        (pb.ActRequest(policy="cartpole").SerializeToString(), ("cartpole", "")),
        (b"", None),
        (pb.ActRequest(version="1").SerializeToString(), None),
        (pb.ActRequest(policy="p" * 128).SerializeToString(), None),
        (b"\x0a\x02\xff\xfe", None),
        (b"\x0a\x08cart", None),
        (b"\x0a\x08cartpole\x12", None),
        (b"\x0a\x08cartpole\x12\x04@c", None),
    ],
)
def test_the_names_are_read_where_they_come_first_and_whole(message: bytes, names: tuple[str, str] | None) -> None:
    assert leading_names(message) == names


@pytest.fixture
def inference() -> Inference:
    """What never gets to its work, so that what is asked of it waits."""
    return Inference(Runs(), np.random.default_rng(0), Capacity(max_waiting=1000, max_batch=1), lambda _posted: None)


@pytest.fixture
def handler(inference: Inference) -> ActHandler:
    """Answers for a slow version, which is asked for three times as much as it can do."""
    catalog = catalog_of(make_version(), pace=SLOW)
    policy = catalog.resolve("cartpole", "", None)
    rows = OBSERVATION[np.newaxis]
    begun, n = time.monotonic(), 0
    while time.monotonic() < begun + 2.0 and not inference.is_crowded:
        while n * 0.003 <= time.monotonic() - begun:  # as often on a machine that others keep busy
            inference.ask([Question(policy, rows, False, 0.0, lambda: True, lambda _: None, deadline=math.inf)])
            n += 1
        time.sleep(0.003)
    assert inference.is_crowded
    return ActHandler(catalog, inference, lambda posted: posted())


def call_with(message: bytes, left_s: float | None = 1.0) -> ReceivedCall:
    call = ReceivedCall(pb.ActRequest.FromString(message))
    call.deadline = None if left_s is None else time.monotonic() + left_s
    return call


def test_a_call_for_a_crowded_version_is_refused_before_the_rest_of_it_has_come(handler: ActHandler) -> None:
    message = act()
    with pytest.raises(Overloaded, match="overloaded: the call would wait for") as refusal:
        handler.foresee(call_with(message), message[:20])
    assert refusal.value.reason in {"wait", "deadline"}


def test_a_call_that_came_whole_is_refused_before_it_is_decoded(handler: ActHandler) -> None:
    call = call_with(act())
    handler.handle([call])
    assert isinstance(call.error, Overloaded)


@pytest.mark.parametrize(
    "message",
    [act("go"), act(version="9"), b"\x1a\x00", act()[:5]],
    ids=["another policy", "another version", "no name first", "a part of the name"],
)
def test_of_what_cannot_be_foreseen_the_whole_message_decides(handler: ActHandler, message: bytes) -> None:
    handler.foresee(call_with(act()), message)


def test_a_call_that_can_wait_is_let_in(handler: ActHandler) -> None:
    handler.foresee(call_with(act(), left_s=None), act())
