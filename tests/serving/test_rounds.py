"""What is posted to the loop is called in its order, by its thread, and leaves room for the connections between."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest

from polserve.serving.access.guard import AccessRules, Guard, Shown
from polserve.serving.calls import Asker, LocalCarrier
from polserve.serving.grpc.nghttp2 import Uncounted
from polserve.serving.handlers.base import Quiet
from polserve.serving.methods import Call, Method
from polserve.serving.rounds import HEAVY_BYTES, MOST_CALLS, MOST_HEAVY_BYTES, MOST_UNDER_OVERLOAD, Rounds
from tests.support.overload import overload


def test_what_is_posted_by_threads_is_called_by_the_loops_thread() -> None:
    called: list[tuple[int, int]] = []

    async def play() -> None:
        rounds = Rounds(asyncio.get_running_loop(), lambda: None)

        def post(first: int) -> None:
            for i in range(500):
                rounds.post(lambda i=i: called.append((first + i, threading.get_ident())))  # type: ignore[misc]

        threads = [threading.Thread(target=post, args=(1000 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        while len(called) < 2000:  # noqa: ASYNC110 - threads post
            await asyncio.sleep(0.001)
        for thread in threads:
            thread.join()

    asyncio.run(play())
    assert {thread for _, thread in called} == {threading.get_ident()}
    for n in range(4):
        mine = [number for number, _ in called if number // 1000 == n]
        assert mine == sorted(mine)


def test_what_posts_itself_again_does_not_keep_the_loop_from_others() -> None:
    turns = 0

    async def play() -> None:
        rounds = Rounds(asyncio.get_running_loop(), lambda: None)
        is_over = False

        def again() -> None:
            nonlocal turns
            turns += 1
            if not is_over:
                rounds.post(again)

        rounds.post(again)
        await asyncio.sleep(0.05)
        is_over = True
        await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(play(), 10))
    assert turns > 1


def test_what_fails_does_not_keep_others_from_being_called() -> None:
    called = threading.Event()

    async def play() -> None:
        rounds = Rounds(asyncio.get_running_loop(), lambda: None)
        rounds.post(lambda: 1 / 0)  # type: ignore[arg-type]
        rounds.post(called.set)
        await asyncio.sleep(0.05)

    asyncio.run(play())
    assert called.is_set()


@pytest.mark.parametrize("line", [1, 2, 3, 4])
def test_a_thread_that_posts_in_the_middle_of_another_ones_post_is_called_too(line: int) -> None:
    called: list[str] = []
    lines = 0

    async def play() -> None:
        rounds = Rounds(asyncio.get_running_loop(), lambda: None)

        def interrupt(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
            nonlocal lines
            is_line = frame.f_code is Rounds.post.__code__ and event == "line"
            lines += is_line
            if is_line and lines == line:
                other = threading.Thread(target=rounds.post, args=(lambda: called.append("other"),))
                other.start()
                other.join()
            return interrupt

        def post() -> None:
            sys.settrace(interrupt)
            rounds.post(lambda: called.append("mine"))

        thread = threading.Thread(target=post)
        thread.start()
        while thread.is_alive():  # noqa: ASYNC110 - a thread posts
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)

    asyncio.run(play())
    assert sorted(called) == ["mine", "other"]


class Kept(Quiet):
    """Answers calls, and keeps what it was handed at once: the sizes of the requests."""

    def __init__(self) -> None:
        self.handed: list[list[int]] = []

    def handle(self, calls: Sequence[Call]) -> None:
        self.handed.append([call.size for call in calls])
        for call in calls:
            call.reply(b"")


async def handed_of(sizes: Sequence[int], later: Sequence[int] = (), *, is_overloaded: bool = False) -> list[list[int]]:
    """What a handler is handed of calls with requests of these sizes, and of some that come a turn later."""
    kept, n_answered = Kept(), 0

    def answered(_: object) -> None:
        nonlocal n_answered
        n_answered += 1

    rounds = Rounds(asyncio.get_running_loop(), lambda: None)
    if is_overloaded:
        overload(rounds.pressure, time.monotonic())
    carrier = LocalCarrier([Method("a", "B", "unary", kept, Uncounted())], rounds, Guard(AccessRules()))
    asker = Asker(lambda: False, Shown())
    for size in sizes:
        carrier.begin("/a/B", bytes(size), answered, asker)
    await asyncio.sleep(0)
    for size in later:
        carrier.begin("/a/B", bytes(size), answered, asker)
    while n_answered < len(sizes) + len(later):  # noqa: ASYNC110 - the loop answers
        await asyncio.sleep(0)
    return kept.handed


def test_small_requests_are_answered_before_heavy_ones_that_came_first() -> None:
    half = MOST_HEAVY_BYTES // 2
    handed = asyncio.run(handed_of([half, half, half, 10, 20], later=[30]))
    assert handed == [[10, 20], [half, half], [30], [half]]


def test_a_round_takes_in_one_heavy_request_however_large() -> None:
    handed = asyncio.run(handed_of([2 * MOST_HEAVY_BYTES, HEAVY_BYTES, HEAVY_BYTES]))
    assert handed == [[2 * MOST_HEAVY_BYTES], [HEAVY_BYTES, HEAVY_BYTES]]


@pytest.mark.parametrize(("is_overloaded", "most"), [(False, MOST_CALLS), (True, MOST_UNDER_OVERLOAD)])
def test_under_overload_the_loop_looks_at_its_connections_more_often(is_overloaded: bool, most: int) -> None:  # noqa: FBT001 - a parameter
    handed = asyncio.run(handed_of([1] * 2 * MOST_CALLS, is_overloaded=is_overloaded))
    assert [len(calls) for calls in handed] == [most] * (2 * MOST_CALLS // most)
