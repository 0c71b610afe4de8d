"""The score of most tasks: the mean return of greedy games, which end early where a policy is clearly worse."""

from collections.abc import Callable, Sequence

import numpy as np

from polserve.training.environments.making import VecEnv
from polserve.training.learning.collector import ChooseActions
from polserve.training.learning.scores import Score, SelectionGames

FEWEST_GAMES = 10
"""The fewest games after which a policy may be called clearly worse."""
LOOKS = (0.2, 0.5)
"""Parts of the games after which that is asked."""
ERRORS = 3.0
"""Standard errors by which it must lie below the best one."""


def mean_return(
    make_envs: Callable[[int], VecEnv], games: SelectionGames, choose_actions: ChooseActions, best: Score | None = None
) -> Score:
    """Score a policy by its mean return; no more games are played once it is clearly worse than the `best` one.

    Both play the same games, so that the luck of a game's beginning cancels out.
    """
    from polserve.training.evaluation.episodes import play_together

    returns: list[float] = []
    stepped: list[int] = []
    for until in _looks(games.episodes):
        first_seed = games.first_seed + len(returns)
        more = until - len(returns)
        played = play_together(
            choose_actions,
            make_envs,
            more,
            first_seed,
            games.max_steps,
            most_envs=games.envs,
            report=_counted_from(len(returns), games.report),
            count=stepped.append,
        )
        returns += [episode.episode_return for episode in played]
        if until < games.episodes and best is not None and is_clearly_worse(returns, best.returns):
            return Score(float(np.mean(returns)), sum(stepped), tuple(returns), is_whole=False)
    return Score(float(np.mean(returns)), sum(stepped), tuple(returns))


def _counted_from(before: int, report: Callable[[float], None]) -> Callable[[float], None]:
    return lambda over: report(before + over)


def is_clearly_worse(returns: Sequence[float], best: Sequence[float]) -> bool:
    """Whether a policy returned so much less, in the first games of the best one, that the others change nothing."""
    if not FEWEST_GAMES <= len(returns) <= len(best):
        return False
    differences = np.subtract(returns, best[: len(returns)])
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(differences.mean() < 0 and differences.mean() + ERRORS * error < 0)


def _looks(episodes: int) -> list[int]:
    """Numbers of games after each of which the policy is looked at; all of them last."""
    looks = {max(FEWEST_GAMES, round(part * episodes)) for part in LOOKS}
    return [*sorted(look for look in looks if look < episodes), episodes]
