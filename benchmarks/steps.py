"""A step of an episode beside an empty unary call, an echoing stream, and single Acts; CPU of the server.

The same asyncio client asks both sides in turns, with as many lanes: each asks again when it was answered.
"""

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import grpc
import grpc.aio
import numpy as np

from benchmarks.act import CARTPOLE, OBSERVATION, Report
from benchmarks.load import METHOD, Server, polserve, rival
from benchmarks.tables import finish, options, show
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import PolicyClient

EPISODE = "/polserve.v1.PolicyService/Episode"
FIRST = pb.EpisodeStart(policy="cartpole", observation=to_tensor(OBSERVATION))
START = pb.EpisodeRequest(start=FIRST).SerializeToString()
STEP = pb.EpisodeRequest(step=pb.EpisodeStep(observation=to_tensor(OBSERVATION), reward=1.0)).SerializeToString()
LANES = (16, 64, 256)
SLOTS = 64

Ask = Callable[[], Awaitable[object]]


async def drive(server: Server, lanes: int, asks: int, *, is_stream: bool) -> float:
    """Return the server's CPU milliseconds for a call or a step."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        lane = stream_lane if is_stream else unary_lane
        ready = [await lane(channel) for _ in range(lanes)]
        await asyncio.gather(*(repeat(ask, asks // lanes // 10 + 1) for ask in ready))
        before = server.cpu_s()
        await asyncio.gather(*(repeat(ask, asks // lanes) for ask in ready))
        return 1000 * (server.cpu_s() - before) / (asks // lanes * lanes)


async def stream_lane(channel: grpc.aio.Channel) -> Ask:
    """Return what takes a step on a stream of its own."""
    call: Any = channel.stream_stream(EPISODE)()
    await call.write(START)
    await call.read()

    async def ask() -> object:
        await call.write(STEP)
        return await call.read()

    return ask


async def unary_lane(channel: grpc.aio.Channel) -> Ask:
    """Return what makes a unary call."""
    call: Any = channel.unary_unary(f"/{METHOD}")

    async def ask() -> object:
        return await call(CARTPOLE)

    return ask


async def repeat(ask: Ask, n: int) -> None:
    """Ask n times, each time once the last was answered."""
    for _ in range(n):
        await ask()


def slots_ms(server: Server, steps: int) -> float:
    """Return the server's CPU milliseconds for a step of one of many slots on one stream."""
    rows = np.repeat(OBSERVATION[np.newaxis], SLOTS, axis=0)
    with PolicyClient(f"127.0.0.1:{server.port}") as client, client.episodes("cartpole", SLOTS) as episodes:
        episodes.act(rows)
        episodes.act(rows, np.ones(SLOTS))
        before = server.cpu_s()
        for _ in range(steps):
            episodes.act(rows, np.ones(SLOTS))
        return 1000 * (server.cpu_s() - before) / (steps * SLOTS)


def main() -> None:
    """Measure in turns and print the medians."""
    arguments = options(__doc__ or "").parse_args()
    rounds, asks = (1, 4_000) if arguments.quick else (5, 20_000)
    report = Report()
    with polserve() as ours, rival("echo-threads") as unary, rival("stream-aio") as stream:
        ours.ask(CARTPOLE)
        for lanes in LANES:
            sides = ((ours, True), (unary, False), (stream, True))
            runs: list[list[float]] = [[], [], []]
            for _ in range(rounds):
                for measured, (server, is_stream) in zip(runs, sides, strict=True):
                    measured.append(asyncio.run(drive(server, lanes, asks, is_stream=is_stream)))
            step, empty, echo = map(median, runs)
            title = f"a step, {lanes} streams, CPU, to an empty unary echo of grpc.server"
            report.line(f"step_{lanes}", title, step, empty, "<= 0.25")
            title = f"a step, {lanes} streams, CPU, to an echoing stream of grpc.aio"
            report.line(f"step_{lanes}_stream", title, step, echo, "<= 0.6")
        turns = [
            (asyncio.run(drive(ours, SLOTS, asks, is_stream=False)), slots_ms(ours, asks // 4)) for _ in range(rounds)
        ]
        single, together = (median(side) for side in zip(*turns, strict=True))
        title = f"{SLOTS} CartPoles on one stream, steps per CPU second, to {SLOTS} single Acts"
        report.line("slots", title, 1 / together, 1 / single, ">= 20", "per ms")
    show(f"steps of episodes, medians of {rounds}", ("what", "ours", "theirs", "ratio", "asked"), report.rows)
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
