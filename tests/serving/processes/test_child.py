"""The child's end of the pipe, over a pipe of this process."""

import io
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from polserve.serving.errors import RolloutRefused
from polserve.serving.processes.child import Parent, ParentGone
from polserve.serving.processes.encoding import Message


@dataclass
class Pipe:
    """A parent that writes by hand, and what it was told."""

    parent: Parent
    write_fd: int
    told: io.StringIO = field(default_factory=io.StringIO)
    is_open: bool = True

    def write(self, text: str) -> None:
        os.write(self.write_fd, text.encode())

    def close(self) -> None:
        if self.is_open:
            os.close(self.write_fd)
        self.is_open = False

    def replies(self) -> list[Message]:
        return [json.loads(line) for line in self.told.getvalue().splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read_fd, write_fd = os.pipe()
    told = io.StringIO()
    pipe = Pipe(Parent(read_fd, told), write_fd, told)
    yield pipe
    pipe.close()
    os.close(read_fd)


def test_messages_that_came_at_once_are_received_one_by_one(pipe: Pipe) -> None:
    pipe.write('{"n": 1}\n{"n": 2}\n{"n"')
    assert [pipe.parent.receive(0), pipe.parent.receive(0)] == [{"n": 1}, {"n": 2}]
    with pytest.raises(TimeoutError):
        pipe.parent.receive(0)
    pipe.write(": 3}\n")
    assert pipe.parent.receive(0) == {"n": 3}


def test_a_message_larger_than_the_pipe_is_received_whole(pipe: Pipe) -> None:
    text = "ä" * 300_000
    writer = threading.Thread(target=pipe.write, args=(json.dumps({"text": text}, ensure_ascii=False) + "\n",))
    writer.start()
    assert pipe.parent.receive(30) == {"text": text}
    writer.join()


@pytest.mark.parametrize("left", ["", '{"half of a me'])
def test_a_parent_that_ends_is_gone_whatever_it_had_begun_to_say(pipe: Pipe, left: str) -> None:
    pipe.write(left)
    pipe.close()
    with pytest.raises(ParentGone):
        pipe.parent.receive()


def test_requests_are_answered_until_there_are_none_for_a_while(pipe: Pipe) -> None:
    pipe.write('{"n": 1}\n{"n": 2}\n')
    pipe.parent.serve(lambda request: {"twice": 2 * request["n"]}, idle_s=0.01)
    assert pipe.replies() == [{"twice": 2}, {"twice": 4}]


def test_a_refusal_is_a_reply_with_its_reason_and_nothing_is_logged(
    pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_request: Message) -> Message:
        raise RolloutRefused("latency: too slow")

    pipe.write("{}\n")
    pipe.parent.serve(refuse, idle_s=0.01)
    assert pipe.replies() == [{"refusal": "latency: too slow"}]
    assert capsys.readouterr().err == ""


def test_an_unexpected_error_is_a_refusal_whose_details_are_in_the_log_alone(
    pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_request: Message) -> Message:
        raise ZeroDivisionError("with a secret in it")

    pipe.write("{}\n{}\n")
    pipe.parent.serve(fail, idle_s=0.01)
    assert pipe.replies() == [{"refusal": "unexpected ZeroDivisionError; the service's log has the details"}] * 2
    logged = capsys.readouterr().err.splitlines()
    assert [line.count("event=request_failed") for line in logged] == [1, 1]
