"""Record the game of Ms. Pac-Man that the console shows, played by the bundled policy, with the values it gave.

Run it by `python docs/console_recording.py`; it needs the extra `atari`.
"""

import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import polserve

TARGET = Path(__file__).resolve().parents[1] / "serving" / "console" / "static" / "mspacman.rec"
ENVIRONMENT = "ALE/MsPacman-v5"
POLICY = "mspacman/1"
SEED = 2_000_000_000
"""The first seed of the policy's evaluation."""
STEPS_PER_SECOND = 15
"""The game shows 60 frames a second, and the policy acts at every fourth."""
MOST_STEPS = 600
"""Steps that are kept, from the start; the rest of the game would make the page twice as large."""


@dataclass(frozen=True)
class Game:
    """A game, step by step: what was shown, what was answered, and the score so far."""

    frames: list[NDArray[np.uint8]]
    actions: list[int]
    values: list[NDArray[np.float32]]
    scores: list[float]


def main() -> None:
    """Play, and write the recording."""
    gym.register_envs(ale_py)
    game = play()
    recording = encode(game)
    TARGET.write_bytes(recording)
    print(f"{TARGET.name}: {len(game.frames)} steps, score {game.scores[-1]:.0f}, {len(recording):,} bytes")


def play() -> Game:
    """Play a game from its start, greedily."""
    policy = polserve.load(POLICY)
    env = gym.make(ENVIRONMENT)
    game = Game([], [], [], [])
    frame, _ = env.reset(seed=SEED)
    stack = np.stack([frame] * policy.spec.observation.frames)  # the first frame stands for those before it
    score, is_over = 0.0, False
    while not is_over and len(game.frames) < MOST_STEPS:
        answer = policy.act(stack, with_values=True)
        game.frames.append(frame)
        game.actions.append(int(answer.action))
        game.values.append(np.asarray(answer.values, np.float32))
        frame, reward, is_terminated, is_truncated, _ = env.step(int(answer.action))
        stack = np.concatenate([stack[1:], frame[None]])
        score += float(reward)
        game.scores.append(score)
        is_over = is_terminated or is_truncated
    env.close()
    return game


def encode(game: Game) -> bytes:
    """Return the recording in the form that the console reads: see recording.js."""
    frames = np.stack(game.frames)  # (n, height, width, 3)
    palette, indices = np.unique(frames.reshape(-1, 3), axis=0, return_inverse=True)
    pixels = indices.astype(np.uint8).reshape(len(frames), -1)
    changes = np.concatenate([pixels[:1], pixels[1:] ^ pixels[:-1]])
    head: dict[str, Any] = {
        "about": f"{ENVIRONMENT}, played by {POLICY}: the first {len(frames)} steps, at the game's own pace.",
        "width": frames.shape[2],
        "height": frames.shape[1],
        "frames": len(frames),
        "stepsPerSecond": STEPS_PER_SECOND,
        "palette": palette.tolist(),
        "actions": game.actions,
        "scores": game.scores,
    }
    values = np.stack(game.values)
    head["valueUnit"] = unit = float(np.abs(values).max()) / np.iinfo(np.int16).max
    text = json.dumps(head, separators=(",", ":")).encode()
    data = changes.tobytes() + np.round(values / unit).astype("<i2").tobytes()
    return struct.pack("<I", len(text)) + text + zlib.compress(data, 9)


if __name__ == "__main__":
    main()
