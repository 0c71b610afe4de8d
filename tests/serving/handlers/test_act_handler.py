"""The Act handler, without a transport: what asks alike is answered by one run, and each call gets what it asked."""

import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_array, to_tensor
from polserve.serving.errors import Expired, InvalidRequest, PolserveError, UnknownPolicy, UnknownVersion
from polserve.serving.handlers.act import ActHandler
from tests.support.calls import ReceivedCall, Runs, catalog_of, inference_of
from tests.support.versions import make_allocator_version, make_version

GOLDEN = make_version().golden
OBSERVATIONS, ACTIONS = GOLDEN["observation"], GOLDEN["action"]


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def handler(runs: Runs) -> ActHandler:
    catalog = catalog_of(make_version(), make_allocator_version())
    return ActHandler(catalog, inference_of(runs), lambda posted: posted())


def request(observation: np.ndarray, *, as_values: bool = False, **fields: object) -> pb.ActRequest:
    tensor = to_tensor(observation, as_values=as_values)
    return pb.ActRequest(**{"policy": "cartpole", "observation": tensor, **fields})  # type: ignore[arg-type]


def response(call: ReceivedCall) -> pb.ActResponse:
    assert call.error is None, call.error
    (reply,) = call.replies
    return pb.ActResponse.FromString(reply)


def actions(call: ReceivedCall) -> list[int]:
    return [int(action) for action in np.atleast_1d(to_array(response(call).action))]


def test_calls_that_ask_alike_are_one_run_and_each_gets_its_own_action(handler: ActHandler, runs: Runs) -> None:
    calls = [ReceivedCall(request(observation)) for observation in OBSERVATIONS[:20]]
    handler.handle(calls)
    assert [actions(call) for call in calls] == ACTIONS[:20, np.newaxis].tolist()
    assert runs.sizes == [20]
    assert {(response(call).policy, response(call).version) for call in calls} == {("cartpole", "1")}


def test_batches_of_one_size_are_one_run_and_keep_their_leading_axis(handler: ActHandler, runs: Runs) -> None:
    calls = [ReceivedCall(request(OBSERVATIONS[i : i + 5])) for i in (0, 5, 10)]
    handler.handle(calls)
    assert [actions(call) for call in calls] == ACTIONS[:15].reshape(3, 5).tolist()
    assert list(response(calls[0]).action.shape) == [5]
    assert runs.sizes == [15]


def test_calls_that_ask_otherwise_are_answered_in_the_same_round(handler: ActHandler, runs: Runs) -> None:
    one, batch = ReceivedCall(request(OBSERVATIONS[0])), ReceivedCall(request(OBSERVATIONS[:3]))
    valued = ReceivedCall(request(OBSERVATIONS[1], with_values=True))
    handler.handle([one, batch, valued])
    assert (actions(one), actions(batch), actions(valued)) == (
        ACTIONS[:1].tolist(),
        ACTIONS[:3].tolist(),
        ACTIONS[1:2].tolist(),
    )
    assert to_array(response(valued).values) == pytest.approx(GOLDEN["values"][1], abs=1e-5)
    assert not response(one).HasField("values")
    assert sorted(runs.sizes) == [1, 1, 3]


def test_the_answer_has_the_form_of_the_question(handler: ActHandler) -> None:
    call = ReceivedCall(request(OBSERVATIONS[0], as_values=True, with_values=True))
    handler.handle([call])
    answer = response(call)
    assert list(answer.action.values) == ACTIONS[:1].tolist()
    assert list(answer.values.values) == pytest.approx(GOLDEN["values"][0], abs=1e-5)
    assert answer.action.data == b""


def test_a_wrong_one_among_calls_that_ask_alike_fails_alone(handler: ActHandler) -> None:
    wrong = OBSERVATIONS[0].copy()
    wrong[2] = np.nan
    good, bad = ReceivedCall(request(OBSERVATIONS[1])), ReceivedCall(request(wrong))
    handler.handle([good, bad])
    assert actions(good) == ACTIONS[1:2].tolist()
    assert bad.replies == []
    assert isinstance(bad.error, InvalidRequest)
    assert "nan" in str(bad.error)


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        (request(OBSERVATIONS[0], policy="chess"), UnknownPolicy, "chess"),
        (request(OBSERVATIONS[0], version="7"), UnknownVersion, "7"),
        (request(OBSERVATIONS[0], version="@canary"), UnknownVersion, "@canary"),
        (request(OBSERVATIONS[0, :3]), InvalidRequest, "(4,)"),
        (request(OBSERVATIONS[0], epsilon=1.5), InvalidRequest, "epsilon"),
        (request(np.zeros(62, np.float32), policy="adbudget", epsilon=0.5), InvalidRequest, "epsilon"),
        (pb.ActRequest(policy="cartpole"), InvalidRequest, "observation"),
    ],
    ids=["policy", "version", "alias", "shape", "epsilon", "continuous", "nothing"],
)
def test_what_cannot_be_answered_is_refused_with_its_reason(
    handler: ActHandler, runs: Runs, asked: pb.ActRequest, error: type[PolserveError], text: str
) -> None:
    call = ReceivedCall(asked)
    handler.handle([call])
    assert type(call.error) is error
    assert text in str(call.error)
    assert runs.sizes == []


def test_bytes_that_are_no_request_are_refused(handler: ActHandler) -> None:
    call = ReceivedCall(pb.ActRequest())
    call.message = b"\xff\xff"
    handler.handle([call])
    assert isinstance(call.error, InvalidRequest)
    assert "2 bytes that cannot be parsed" in str(call.error)


def test_what_nobody_waits_for_is_not_looked_at(handler: ActHandler, runs: Runs) -> None:
    call = ReceivedCall(request(OBSERVATIONS[0]), is_wanted=False)
    handler.handle([call])
    assert isinstance(call.error, Expired)
    assert runs.sizes == []


def test_explored_actions_are_marked_each_for_itself(handler: ActHandler) -> None:
    always, never = ReceivedCall(request(OBSERVATIONS, epsilon=1.0)), ReceivedCall(request(OBSERVATIONS))
    handler.handle([always, never])
    assert list(response(always).explored) == [True] * len(OBSERVATIONS)
    assert set(actions(always)) == {0, 1}
    assert not response(never).explored
