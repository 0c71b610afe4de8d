"""Bodies take room for what they are once decompressed."""

import asyncio
import gzip

import pytest

from polserve.serving.errors import Overloaded
from polserve.serving.http.bodies import BodyReader, Room
from polserve.serving.http.messages import Message


def test_a_small_body_that_grows_takes_the_room_of_a_large_one() -> None:
    body = gzip.compress(bytes(1000))

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    room = Room(1500)
    first, second = BodyReader(receive, room), BodyReader(receive, room)
    assert asyncio.run(first.read(2000, None, b"gzip")) == bytes(1000)
    with pytest.raises(Overloaded):
        asyncio.run(second.read(2000, None, b"gzip"))
    room.give_back(first.taken)
    assert second.taken == 0
    assert asyncio.run(second.read(2000, None, b"gzip")) == bytes(1000)
