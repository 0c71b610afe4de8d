"""Errors as statuses: what is told of an error that is nobody's fault but ours."""

import re

import pytest

from polserve.serving.errors import Overloaded, UnknownPolicy
from polserve.serving.request_ids import RequestId
from polserve.serving.statuses import Code, id_returned, status_of


def test_an_error_of_ours_is_told_and_logged_by_the_id_of_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("a secret")  # noqa: TRY301 - it has a traceback then
    except ValueError as error:
        status = status_of(error, RequestId("order-4711"))
    assert status.code is Code.INTERNAL
    assert status.details == "internal error order-4711; the server's log has the details"
    logged = capsys.readouterr().err
    assert re.findall(r"event=internal_error request_id=(\S+)", logged) == ["order-4711"]
    assert "Traceback" in logged
    assert "a secret" in logged


def test_an_id_is_made_once_and_then_is_the_same_wherever_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    request_id = RequestId()
    status = status_of(ValueError("x"), request_id)
    (logged,) = re.findall(r"event=internal_error request_id=(\S+)", capsys.readouterr().err)
    assert logged in status.details
    assert id_returned(status, request_id) == (("x-request-id", logged),)


def test_a_call_that_finds_no_room_costs_no_id_that_nobody_gave() -> None:
    full, unknown = Overloaded("the queue is full", 0.1, "queue"), UnknownPolicy("nobody", ())
    made = RequestId()
    assert id_returned(status_of(full, made), made) == ()
    assert not made.is_known
    given = RequestId("mine")
    assert id_returned(status_of(full, given), given) == (("x-request-id", "mine"),)
    assert len(id_returned(status_of(unknown, made), made)) == 1
