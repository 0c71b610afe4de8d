"""The training loop: act, store, learn, evaluate. It knows no algorithm, and nobody who watches it."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.training.environments.making import VecEnv
from polserve.training.errors import CheckpointError, TrainingDiverged
from polserve.training.learning.agents.agent import Agent
from polserve.training.learning.collector import Collector
from polserve.training.learning.hyperparameters import LoopConfig, RewardConfig
from polserve.training.learning.interrupts import Interrupted
from polserve.training.learning.progress import Progress, TrainingFigures, TrainingResult
from polserve.training.learning.return_scale import ReturnScale
from polserve.training.learning.return_spread import ReturnSpread
from polserve.training.learning.reward_signal import RewardSignal
from polserve.training.learning.rewards import unchanged
from polserve.training.learning.saved_state import restore_rng, rng_state
from polserve.training.learning.scores import ScorePolicy
from polserve.training.learning.selection import Selection, crosses
from polserve.training.learning.streams import EnvironmentSeeds, Streams, Use
from polserve.training.learning.throughput import Throughput
from polserve.training.learning.tracing import GUARD
from polserve.training.learning.turns import Turns
from polserve.training.learning.updates import Learner

RECENT_EPISODES = 100
"""Training episodes whose mean return is reported."""
CONTINUED: tuple[Use, ...] = ("exploration", "replay")
"""Streams that a resumed run goes on with where they were."""
PLAIN: Mapping[str, Any] = {"factor": 1.0, "largest": 0.0}
"""State of the scale of a run that has none, since an earlier version began it: rewards stay as they are."""
FOUND: Mapping[str, Any] = {"low": -1.0, "high": 1.0, "has_ended": True, "waited": 0}
"""State of the signal of a run that an earlier version began, without one: its exploration goes on as it did."""


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What a loop works with."""

    agent: Agent
    learner: Learner
    envs: VecEnv
    score: ScorePolicy
    """How good a policy is, by episodes that nothing is learned from."""
    score_name: str
    """What the score is, for people."""
    spread: ReturnSpread | ReturnScale | None = None
    """Size of returns by which rewards are scaled; None where they are left as they are."""
    signal: RewardSignal | None = None
    """What exploration waits for before it becomes less; None where it does not wait."""
    observe: Callable[[NDArray[Any]], None] = lambda _: None
    """Hears each observation (n, *shape) that training meets, before it is acted on."""


class Loop:
    """Training of one agent in one vector environment; a pure function of the seed on a CPU."""

    def __init__(self, parts: LoopParts, rewards: RewardConfig, config: LoopConfig, streams: Streams) -> None:
        """Begin episodes in all environments, with seeds of their stream."""
        self._parts = parts
        self._agent = parts.agent
        self._rewards = rewards
        self._config = config
        self._rngs = {use: streams.generator(use) for use in CONTINUED}
        self._seeds = EnvironmentSeeds(streams)
        self._collector = Collector(
            parts.envs, self._seeds.draw(parts.envs.num_envs), is_life_terminal=config.life_loss_is_terminal
        )
        self._turns = Turns(parts.envs, self._collector, self._seeds, config.evaluate_every)
        self._step = 0
        self._episodes = 0
        self._recent: deque[float] = deque(maxlen=RECENT_EPISODES)
        self._selection = Selection(parts.score, config)
        self._learning = Throughput()
        self._is_complete = False

    @property
    def step(self) -> int:
        """Environment steps that were learned from."""
        return self._step

    @property
    def reward_factor(self) -> float:
        """Constant factor that rewards are learned from times; 1 where it is none, or none yet."""
        spread = self._parts.spread
        return spread.factor if isinstance(spread, ReturnScale) else 1.0

    def keep_reward_factor(self, factor: float) -> None:
        """Learn from rewards times the factor that first weights were learned with, where it is a constant one."""
        if isinstance(self._parts.spread, ReturnScale):
            self._parts.spread.keep(factor)

    @property
    def is_reached(self) -> bool:
        """Whether nothing is left to learn: the steps are used, or the return at which training stops is reached."""
        stop_return = self._config.stop_return
        return self._step >= self._config.steps or (
            stop_return is not None and self._selection.best_score >= stop_return
        )

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Train, and yield where it stands after each step of all environments, and at the end.

        It ends when the steps are used, the return is reached, or `should_stop` says so; whoever leaves off iterating
        may go on with `run` again.
        """
        reported = None
        try:
            for progress in self._learn(should_stop):
                reported = progress.step if progress.is_report_due else reported
                yield progress
            evaluated = self._selection
            if (
                evaluated.best is None or evaluated.curve[-1][0] < self._step
            ):  # where an earlier run was interrupted in it
                self.evaluate(should_stop)
                reported = None
            self._is_complete = True
        except Interrupted:
            self._is_complete = False
        yield self._progress(is_report_due=reported != self._step, is_over=True)

    def evaluate(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Score the greedy policy; keep its weights if they are the best so far.

        Raises:
            Interrupted: `should_stop` said so before the end.
        """
        self.suspend()
        self._selection.evaluate(self._agent, self._step, should_stop)

    def suspend(self) -> None:
        """Close the environment until the next step, if no second one may exist beside it."""
        self._turns.give()

    def figures(self) -> TrainingFigures:
        """Figures that can be told of training; rates are those since the last call."""
        recent = float(np.mean(self._recent)) if self._recent else None
        metrics = {**self._agent.losses(), **self._agent.exploration(self._explored)}
        metrics["charts/selection_steps"] = self._selection.steps
        if recent is not None:
            metrics["charts/episodic_return"] = recent
        if self._selection.curve:
            metrics["charts/greedy_return"] = self._selection.curve[-1][1]
        return TrainingFigures(recent, self._collector.throughput.look(), self._learning.look(), metrics)

    def result(self) -> TrainingResult:
        """Best weights, and the story of training.

        Raises:
            TrainingDiverged: it came to its end, and no score was a number.
        """
        selection = self._selection
        if selection.best is None and self._is_complete:
            raise TrainingDiverged(
                f"no greedy evaluation gave a number (the last one {selection.curve[-1][1]}): training diverged, or "
                "the environment's rewards are no numbers; lower the learning rate, or mend the environment"
            )
        return TrainingResult(
            weights=selection.best if selection.best is not None else self._agent.weights(),
            best_score=selection.best_score if selection.best is not None else np.nan,
            step=self._step,
            episodes=self._episodes,
            curve=selection.curve,
            score_name=self._parts.score_name,
            is_complete=self._is_complete,
            selection_steps=selection.steps,
            reward_factor=self.reward_factor,
        )

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs."""
        return {
            "agent": self._agent.state(),
            "learner": self._parts.learner.state(),
            "environment_seeds": self._seeds.state(),
            "streams": {use: rng_state(rng) for use, rng in self._rngs.items()},
            "step": self._step,
            "episodes": self._episodes,
            "recent": list(self._recent),
            **({"spread": self._parts.spread.state()} if self._parts.spread is not None else {}),
            **({"signal": self._parts.signal.state()} if self._parts.signal is not None else {}),
            **self._selection.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; the environments begin new episodes, with seeds that the run has not used.

        Raises:
            CheckpointError: the state is of another network or replay.
        """
        try:
            self._agent.load_state(state["agent"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                "the checkpoint does not fit this run's network: perhaps the environment's observations or actions "
                "were other ones; go on with the environment as it was, or start anew without --resume"
            ) from error
        self._parts.learner.load_state(state["learner"])
        if "streams" in state:  # earlier versions kept none of these
            for use, saved in state["streams"].items():
                restore_rng(self._rngs[use], saved)
            self._seeds.load_state(state["environment_seeds"])
        self._step, self._episodes = state["step"], state["episodes"]
        self._recent.extend(state["recent"])
        self._selection.load_state(state)
        if self._parts.spread is not None:
            self._parts.spread.load_state(state.get("spread", PLAIN))
        if self._parts.signal is not None:
            self._parts.signal.load_state(state.get("signal", FOUND))
        self._collector.begin(self._seeds.draw(self._parts.envs.num_envs))

    def _learn(self, should_stop: Callable[[], bool]) -> Iterator[Progress]:
        """Learn until the steps are used or the return is reached; raises Interrupted if asked to stop before."""
        config = self._config
        while not self.is_reached:
            if should_stop():
                raise Interrupted
            before = self._step
            self._advance()
            if self._selection.is_due(before, self._step) and (self.is_reached or self._turns.is_evaluations()):
                self.evaluate(should_stop)
            yield self._progress(is_report_due=crosses(before, self._step, config.log_every))

    def _advance(self) -> None:
        """Step every environment once, and learn what is due."""
        self._turns.take_back()
        step = self._collector.step(self._explore)
        self._step += int(step.is_real.sum())
        for episode in self._collector.finished():
            self._episodes += 1
            self._recent.append(episode.episode_return)
        with GUARD.running(), self._learning.timing():
            treated, spread = self._rewards.apply(step), self._parts.spread
            if spread is not None:
                spread.add(treated)
            if self._parts.signal is not None:
                self._parts.signal.add(treated)
            factor = unchanged if spread is None else spread.for_update
            self._learning.add(self._parts.learner.observe(treated, self._rngs["replay"], factor))

    def _explore(self, observations: NDArray[Any]) -> NDArray[Any]:
        with GUARD.running():
            self._parts.observe(observations)
            return self._agent.explore(observations, self._explored, self._rngs["exploration"])

    @property
    def _explored(self) -> int:
        """Environment steps of which exploration knows: those without a signal that it waits for do not count."""
        signal = self._parts.signal
        return self._step - (signal.waited if signal is not None else 0)

    def _progress(self, *, is_report_due: bool, is_over: bool = False) -> Progress:
        selection = self._selection
        return Progress(
            self._step,
            self._config.steps,
            selection.steps,
            self._episodes,
            selection.best_score if selection.curve else None,
            is_report_due,
            is_over,
        )
