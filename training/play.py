"""Whole episodes of a real environment, with every action asked of a running service."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import Action, PolicyClient
from polserve.training.environments.inspection import check_fits, inspect_environment
from polserve.training.environments.limits import MAX_EVALUATION_STEPS
from polserve.training.environments.making import EVALUATION_FIRST_SEED, Env, EnvironmentSpec, from_message, make_env
from polserve.training.environments.rewards import paid
from polserve.training.errors import UnknownEnvironment, UnsupportedEnvironment

OnFrame: TypeAlias = Callable[[NDArray[np.uint8]], None]

GIF_FRAMES = 600
"""The most frames of a picture, so that it stays of a size for a README."""
GIF_WIDTH = 320
"""Pixels across; a wider frame is halved."""


@dataclass(frozen=True, slots=True)
class PlayedEpisode:
    """An episode that a service played."""

    episode_return: float
    length: int
    versions: tuple[str, ...]
    """The versions that answered, in order of appearance."""
    is_cut_off: bool = False
    """Whether it would have gone on."""


def environment_of(player: "Player") -> EnvironmentSpec:
    """Return the environment that the player names, or else the one that its version was trained in.

    Raises:
        ClientError: the policy is not live.
        UnknownEnvironment: it is not live in that version.
    """
    environment = from_message(_spec_of(player), player.module)
    return environment.instead(player.env) if player.env else environment


def _spec_of(player: "Player") -> pb.PolicySpec:
    live = player.client.policy(player.policy)
    version = live.live_version(player.version)
    if version is None:
        raise UnknownEnvironment(f"{player.policy} is not live as {player.version!r}; see `polserve policies`")
    return version.message.spec


def _is_recurrent(player: "Player") -> bool:
    return bool(_spec_of(player).states)


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
    """A live policy on a service that is asked for actions, and "" or a version of it."""

    client: PolicyClient
    policy: str
    version: str = ""
    module: str = ""
    """The Python module that registers the environment's id, where Gymnasium does not know it."""
    max_steps: int = MAX_EVALUATION_STEPS
    """Steps after which an episode is cut off."""
    env: str = ""
    """The Gymnasium id of what is played; "" for what the version's spec states."""


def play_on_service(
    player: Player,
    episodes: int,
    *,
    first_seed: int = EVALUATION_FIRST_SEED,
    on_frame: OnFrame | None = None,
) -> Iterator[PlayedEpisode]:
    """Play episodes one after another; with `on_frame` every frame is rendered and handed to it."""
    environment, is_recurrent = environment_of(player), _is_recurrent(player)
    if on_frame:
        check_renders(environment)
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws without a screen
    # The service stacks frames itself, so that each is sent once.
    with contextlib.redirect_stdout(sys.stderr):  # an environment that prints is no part of the answer
        if player.env:
            check_fits(environment, _spec_of(player))
        else:
            inspect_environment(environment)
        env = make_env(replace(environment, frames=0), render_mode="rgb_array" if on_frame else None)
    try:
        for index in range(episodes):
            game = _Game(env, first_seed + index, player.max_steps, on_frame)
            if environment.frames or is_recurrent:  # the service keeps what is needed of before
                with player.client.episode(player.policy, version=player.version) as stream:
                    yield game.play(stream.act)
            else:
                yield game.play(partial(player.client.act, player.policy, version=player.version))
    finally:
        env.close()


@dataclass(frozen=True, slots=True)
class _Game:
    """One episode to be played."""

    env: Env
    seed: int
    max_steps: int
    on_frame: OnFrame | None

    def play(self, act: Callable[[NDArray[Any]], Action]) -> PlayedEpisode:
        """Play the episode by the actions of `act`."""
        with contextlib.redirect_stdout(sys.stderr):
            return self._play(act)

    def _play(self, act: Callable[[NDArray[Any]], Action]) -> PlayedEpisode:
        observation, _ = self.env.reset(seed=self.seed)
        total, length, is_over = 0.0, 0, False
        versions: dict[str, None] = {}
        while not is_over and length < self.max_steps:
            if self.on_frame:
                self.on_frame(np.asarray(self.env.render()))
            answer = act(observation)
            versions[answer.version] = None
            observation, reward, terminated, truncated, info = self.env.step(answer.action[()])
            total += float(paid(reward, info))
            length += 1
            is_over = terminated or truncated
        return PlayedEpisode(total, length, tuple(versions), is_cut_off=not is_over)


class GifWriter:
    """Collects frames, every second one, and writes them as an animated GIF."""

    def __init__(self) -> None:
        self._frames: list[NDArray[np.uint8]] = []
        self._seen = 0

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Keep the frame if it is a second one and there is room."""
        if self._seen % 2 == 0 and len(self._frames) < GIF_FRAMES:
            shrink = 2 if frame.shape[1] > GIF_WIDTH else 1
            self._frames.append(frame[::shrink, ::shrink])
        self._seen += 1

    def write(self, path: Path) -> None:
        """Write the frames at 25 a second."""
        imageio.imwrite(path, self._frames, extension=".gif", duration=40, loop=0)
