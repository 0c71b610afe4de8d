"""The evaluation of a policy: its returns over whole episodes, beside those of the random policy on the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from polserve.training.environments.limits import EVALUATION_ENVS
from polserve.training.environments.making import EVALUATION_FIRST_SEED, EnvironmentSpec
from polserve.training.evaluation.episodes import cut_off, play_episodes, random_policy
from polserve.training.evaluation.game_progress import GameProgress
from polserve.training.evaluation.statistics import ReturnSummary, summarise
from polserve.training.learning.collector import ChooseActions

RANDOM = "random"
"""The name of the random policy beside others."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Returns of a policy and of the random one, each over whole episodes on seeds that training never used."""

    policy: str
    """The policy's name, as in cartpole/2."""
    environment: str
    """Gymnasium's id."""
    returns: Sequence[float] = field(repr=False)
    """The policy's return in each episode; episode i was reset with the evaluation's first seed and i."""
    random_returns: Sequence[float] = field(repr=False)
    """The same of the policy that draws every action uniformly."""
    summary: ReturnSummary
    random_summary: ReturnSummary
    cut_off: str = ""
    """A sentence that says how many episodes of the policy were cut off; "" where none was."""
    published: str = ""
    """A sentence on published scores in this environment; "" where none are known."""
    first_seed: int = EVALUATION_FIRST_SEED
    """Seed of the first episode; the others follow it."""

    @property
    def mean(self) -> float:
        """The mean return."""
        return self.summary.mean

    @property
    def iqm(self) -> float:
        """The interquartile mean of the returns: that of their middle half (Agarwal et al. 2021)."""
        return self.summary.iqm

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval of the mean return, by percentile bootstrap."""
        return self.summary.interval_low, self.summary.interval_high

    @property
    def metrics(self) -> dict[str, float]:
        """The figures that a registry keeps of the evaluation, by metric path."""
        return {
            "evaluation/mean": self.summary.mean,
            "evaluation/iqm": self.summary.iqm,
            "evaluation/interval_low": self.summary.interval_low,
            "evaluation/interval_high": self.summary.interval_high,
            "evaluation/random_mean": self.random_summary.mean,
        }


@dataclass(frozen=True, slots=True)
class EvaluationGames:
    """Which episodes an evaluation plays."""

    environment: EnvironmentSpec
    episodes: int
    max_steps: int
    """Steps after which an episode is cut off."""
    first_seed: int = EVALUATION_FIRST_SEED
    """Seed of the first episode; the others follow it."""
    envs: int = EVALUATION_ENVS
    """Environments that are played in together at most."""

    def play(self, name: str, choose_actions: ChooseActions, progress: GameProgress) -> tuple[list[float], str]:
        """Play every episode; return the returns, and whether episodes were cut off, as `cut_off` says it."""
        title = f"{name} plays {self.episodes} episodes of {self.environment.id}"
        over = 0

        def report(ended: float) -> None:
            nonlocal over
            advance(int(ended) - over)
            over = int(ended)

        with progress.playing(title, self.episodes) as advance:
            played = play_episodes(
                choose_actions,
                self.environment,
                self.episodes,
                self.first_seed,
                self.max_steps,
                most_envs=self.envs,
                report=report,
            )
        part = cut_off(played, self.max_steps, "--max-steps lets them go on")
        if part:
            progress.note(f"warning: {name}: {part}")
        return [episode.episode_return for episode in played], part

    def play_random(self, progress: GameProgress) -> list[float]:
        """Play every episode by the policy that draws actions uniformly; return the returns."""
        return self.play(RANDOM, random_policy(self.environment, random_policy_seed(self.first_seed)), progress)[0]


def random_policy_seed(first_seed: int) -> int:
    """Seed of the random policy's actions, in an evaluation whose first episode has the `first_seed`."""
    return first_seed - EVALUATION_FIRST_SEED


def evaluate_beside_random(
    name: str, choose_actions: ChooseActions, games: EvaluationGames, progress: GameProgress
) -> Evaluation:
    """Play the games by the policy and by the random one, and summarise both."""
    returns, part = games.play(name, choose_actions, progress)
    random_returns = games.play_random(progress)
    return Evaluation(
        name,
        games.environment.id,
        returns,
        random_returns,
        summarise(returns),
        summarise(random_returns),
        part,
        first_seed=games.first_seed,
    )
