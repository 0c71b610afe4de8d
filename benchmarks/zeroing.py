"""How much the bundled Ms. Pac-Man policy owes to one preprocessing step: her own colour is made black in its graph.

The policy plays as it is, and with a graph that leaves the colour as it is; both play the same games. It learned with
the colour made black, so this says what the trained policy owes to it, and not what another training would reach.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.tables import finish, options, show
from polserve.protos.shared.names import MODEL_FILE
from polserve.training.environments.limits import MAX_EVALUATION_STEPS
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.evaluation.episodes import play_episodes
from polserve.training.evaluation.statistics import ReturnSummary, summarise
from polserve.training.registry.lookup import BUNDLED
from polserve.training.tasks.atari.screens import MS_PACMAN
from polserve.training.versions.onnx_policy import OnnxPolicy

GAME = "ALE/MsPacman-v5"
STACK = 4
GAMES = 100
QUICK_GAMES, QUICK_STEPS = 4, 200
NEVER = -1
"""Sum of colours that no pixel has."""


def without_zeroing(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy of the graph that compares sums of colours with one that no pixel has.

    Raises:
        ValueError: not exactly one number in the graph is the colour's sum.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    found = [tensor for tensor in changed.graph.initializer if is_the_colour(onnx.numpy_helper.to_array(tensor))]
    if len(found) != 1:
        raise ValueError(f"expected one constant of {MS_PACMAN.blackened} in the graph, got {len(found)}")
    constant = onnx.numpy_helper.to_array(found[0])
    found[0].CopyFrom(onnx.numpy_helper.from_array(np.full_like(constant, NEVER), found[0].name))
    return changed


def is_the_colour(constant: NDArray[Any]) -> bool:
    """Whether a constant of a graph is the sum of colours that is made black."""
    return constant.size == 1 and float(constant.ravel()[0]) == MS_PACMAN.blackened


def row(name: str, found: ReturnSummary) -> list[str]:
    """Row of the table."""
    interval = f"{found.interval_low:,.0f} to {found.interval_high:,.0f}"
    return [name, f"{found.mean:,.0f}", interval, f"{found.median:,.0f}"]


def main() -> None:
    """Play, and print the table."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--games", type=int, help=f"games of each [{GAMES}]")
    parser.add_argument("--first-seed", type=int, default=EVALUATION_FIRST_SEED, help="seed of the first game")
    parser.add_argument("--env", default=GAME, help=f"the game, or another with the same frames [{GAME}]")
    given = parser.parse_args()
    games = given.games or (QUICK_GAMES if given.quick else GAMES)
    most_steps = QUICK_STEPS if given.quick else MAX_EVALUATION_STEPS
    environment = EnvironmentSpec(given.env, frames=STACK)
    model = onnx.load(BUNDLED / "mspacman" / "1" / MODEL_FILE)
    returns = []
    for graph in (model, without_zeroing(model)):
        policy = OnnxPolicy(graph.SerializeToString())
        played = play_episodes(policy.act, environment, games, given.first_seed, most_steps)
        returns.append([game.episode_return for game in played])
    black, own = (summarise(each) for each in returns)
    gained = summarise(np.subtract(returns[0], returns[1]).tolist())
    rows = [row("black, as trained", black), row("her own colour", own), row("difference, game by game", gained)]
    part = f", {most_steps} steps of each" if given.quick else ""
    show(f"score over {games} games of {given.env}{part}", ("Ms. Pac-Man is", "mean", "95 % interval", "median"), rows)
    finish({"black": black.mean, "own_colour": own.mean, "difference": gained.mean}, as_json=given.json)


if __name__ == "__main__":
    main()
