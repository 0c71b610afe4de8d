"""Whole episodes of a real environment, with every action asked of a running service."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray

from protos.names import CHAMPION
from serving.client import PolicyClient
from training.envs import EVALUATION_FIRST_SEED, EnvironmentSpec, from_message, make_env
from training.errors import UnknownEnvironment, UnsupportedEnvironment

GIF_FRAMES = 600
"""Frames of a picture at most, so that it stays of a size for a README."""


@dataclass(frozen=True, slots=True)
class PlayedEpisode:
    """An episode that a service played."""

    episode_return: float
    length: int
    versions: tuple[str, ...]
    """The versions that answered, in order of appearance."""


def environment_of(player: "Player") -> EnvironmentSpec:
    """The environment that the player's version was trained in.

    Raises:
        ClientError: the policy is not live.
        UnknownEnvironment: it is not live in that version.
    """
    live = player.client.policy(player.policy)
    alias = player.version.removeprefix("@") or CHAMPION
    number = player.version if player.version in {v.version for v in live.versions} else live.aliases.get(alias, "")
    for version in live.versions:
        if version.version == number or len(live.versions) == 1:
            return from_message(version.spec, player.module)
    raise UnknownEnvironment(f"{player.policy} is not live as {player.version!r}; see `polserve policies`")


def check_renders(environment: EnvironmentSpec) -> None:
    """Raise UnsupportedEnvironment where the environment cannot draw itself."""
    env = make_env(environment)
    modes = env.metadata.get("render_modes", [])
    env.close()
    if "rgb_array" not in modes:
        raise UnsupportedEnvironment(
            f"{environment.id} cannot draw itself: expected 'rgb_array' among its render_modes, got {modes}; "
            "leave out --gif"
        )


@dataclass(frozen=True, slots=True)
class Player:
    """Whom to ask for actions: a live policy, and "" or a version of it."""

    client: PolicyClient
    policy: str
    version: str = ""
    module: str = ""
    """That registers the environment's id, where Gymnasium does not know it."""


def play(
    player: Player,
    episodes: int,
    *,
    first_seed: int = EVALUATION_FIRST_SEED,
    on_frame: Callable[[NDArray[np.uint8]], None] | None = None,
) -> Iterator[PlayedEpisode]:
    """Play episodes one after another; with `on_frame` every frame is rendered and handed to it."""
    environment = environment_of(player)
    if on_frame:
        check_renders(environment)
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws without a screen
    env = make_env(environment, render_mode="rgb_array" if on_frame else None)
    try:
        for index in range(episodes):
            observation, _ = env.reset(seed=first_seed + index)
            total, length, is_over = 0.0, 0, False
            versions: dict[str, None] = {}
            while not is_over:
                if on_frame:
                    on_frame(np.asarray(env.render()))
                answer = player.client.act(player.policy, np.asarray(observation), version=player.version)
                versions[answer.version] = None
                observation, reward, terminated, truncated, _ = env.step(answer.action[()])
                total += float(reward)
                length += 1
                is_over = terminated or truncated
            yield PlayedEpisode(total, length, tuple(versions))
    finally:
        env.close()


class GifWriter:
    """Collects frames, every second one, and writes them as an animated GIF."""

    def __init__(self) -> None:
        self._frames: list[NDArray[np.uint8]] = []
        self._seen = 0

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Keep the frame if it is a second one and there is room."""
        if self._seen % 2 == 0 and len(self._frames) < GIF_FRAMES:
            self._frames.append(frame[::2, ::2])
        self._seen += 1

    def write(self, path: Path) -> None:
        """Write the frames at 25 a second."""
        imageio.imwrite(path, self._frames, extension=".gif", duration=40, loop=0)
