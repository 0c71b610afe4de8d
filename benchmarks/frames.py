"""Colour frames over the wire: a stack in one call, one frame a step in episodes, and frames that the client cropped.

Each line compares two sides that take turns in this run; CPU of the server for a call or a step.
"""

import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.act import Report, take_turns
from benchmarks.graphs import model_ms, write_untrained
from benchmarks.load import Server, Shape, act_message, polserve, require_h2load, rival
from benchmarks.tables import finish, options, show
from polserve.serving.client import PolicyClient
from polserve.serving.policy import Policy
from polserve.training.learning.networks import GreedyPolicy, ValueNetwork
from polserve.training.runs.presets import PRESETS
from polserve.training.tasks.atari.screens import FRAME_SHAPE, MS_PACMAN, Screens

STACK = 4
EPISODES = 4
NETWORK = PRESETS["mspacman"].network
SHAPES = {"raw": (STACK, *FRAME_SHAPE), "cropped": (STACK, *MS_PACMAN.shape, 3)}


def write_versions(folder: Path) -> dict[str, np.ndarray]:
    """Write an untrained version for each kind of frames; the values are observations for them."""
    observations = {}
    for name, shape in SHAPES.items():
        network = ValueNetwork(NETWORK, (STACK, *MS_PACMAN.shape), 9)
        policy = GreedyPolicy(network, Screens(is_cropped=name == "cropped"))
        observations[name] = write_untrained(folder, name, policy, shape)
    return observations


def compare_act(report: Report, folder: Path, observations: dict[str, np.ndarray], rounds: int, calls: int) -> None:
    """Measure a whole stack in one call, beside the model alone and an echo of as many bytes."""
    one = Shape(1, 1)
    with polserve("--policies", str(folder)) as ours, rival("echo-threads") as echo:
        for name, observation in observations.items():
            policy = Policy.load(name, "1", folder / name / "1")
            message = act_message(name, observation)
            ours.ask(message)
            cpu, floor = [], []
            for _ in range(rounds):
                act, empty = take_turns([(ours, message, one, calls), (echo, message, one, calls)], 1)
                cpu.append(act.cpu_ms)
                floor.append(model_ms(policy, observation[np.newaxis]) + 1.1 * empty.cpu_ms)
            size = f"{observation.nbytes // 1000} KB"
            title = f"Act, stack of {name} frames ({size}), CPU per call, to session.run + 1.1 echoes"
            report.line(f"act_{name}_cpu", title, median(cpu), median(floor), "<= 1.0" if name == "raw" else "")


def play(server: Server, policy: str, frame: np.ndarray, seconds: float) -> tuple[float, float]:
    """Measure steps per second of the slowest of several episodes, and the server's CPU milliseconds for a step."""
    steps = [0] * EPISODES

    def one(index: int) -> None:
        with PolicyClient(f"127.0.0.1:{server.port}") as client, client.episode(policy) as episode:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                episode.act(frame)
                steps[index] += 1

    players = [threading.Thread(target=one, args=(index,)) for index in range(EPISODES)]
    before = server.cpu_s()
    for player in players:
        player.start()
    for player in players:
        player.join()
    return min(steps) / seconds, 1000 * (server.cpu_s() - before) / sum(steps)


def compare_episodes(
    report: Report, folder: Path, observations: dict[str, np.ndarray], rounds: int, seconds: float
) -> None:
    """One frame a step, in several episodes at once: raw frames beside cropped ones, and beside the graph alone."""
    policy, stack = Policy.load("raw", "1", folder / "raw" / "1"), observations["raw"][np.newaxis]
    graph: list[float] = []
    rates: dict[str, list[float]] = {name: [] for name in observations}
    cpu: dict[str, list[float]] = {name: [] for name in observations}
    with polserve("--policies", str(folder)) as ours:
        for _ in range(rounds):
            graph.append(model_ms(policy, stack))
            for name, observation in observations.items():
                rate, cpu_ms = play(ours, name, observation[0], seconds)
                rates[name].append(rate)
                cpu[name].append(cpu_ms)
    raw, cropped = (median(cpu[name]) for name in ("raw", "cropped"))
    report.line("episode_raw_cpu", "Episode, raw frames, CPU per step, to cropped frames", raw, cropped, "")
    title = "Episode, raw frames, CPU per step, to the graph alone in ONNX Runtime"
    report.line("episode_raw_graph", title, raw, median(graph), "<= 1.15")
    slowest, asked = median(rates["raw"]), 60.0
    title = f"Episode, raw frames, steps/s of the slowest of {EPISODES}, to 60"
    report.line("episode_raw_steps_per_s", title, slowest, asked, ">= 1", "/s")
    report.figures["episode_cropped_steps_per_s"] = median(rates["cropped"])


def main() -> None:
    """Run both comparisons."""
    parser = options(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side, of which the median is taken")
    arguments = parser.parse_args()
    rounds, calls, seconds = (1, 500, 2.0) if arguments.quick else (arguments.rounds, 2_000, 4.0)
    require_h2load()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        observations = write_versions(Path(folder))
        compare_act(report, Path(folder), observations, rounds, calls)
        compare_episodes(report, Path(folder), observations, rounds, seconds)
    show(f"frames, medians of {rounds}", ("what", "ours", "theirs", "ratio", "asked"), report.rows)
    finish(report.figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
