"""Published scores of games, to stand beside measured ones.

From DQN Zoo's table (github.com/google-deepmind/dqn_zoo, dqn_zoo/atari_data.py): whole games after up to 30 no-op
actions, without sticky actions. Protocols differ, so they are a scale and not a rival.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishedScores:
    """Published mean scores of a game."""

    random: float
    human: float


MS_PACMAN = PublishedScores(random=307.3, human=6951.6)

_BY_ENVIRONMENT: Mapping[str, PublishedScores] = dict.fromkeys(
    ("ALE/MsPacman-v5", "MsPacman-v0", "polserve/PooledMsPacman-v5"), MS_PACMAN
)


def published_scores(environment_id: str) -> PublishedScores | None:
    """Look up the published scores of the environment's game; None where there are none here."""
    return _BY_ENVIRONMENT.get(environment_id)
