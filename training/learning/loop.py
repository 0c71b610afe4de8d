"""The training loop: act, store, learn, evaluate. It knows no algorithm."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from polserve.training.environments.making import VecEnv
from polserve.training.errors import CheckpointError, InvalidOption
from polserve.training.learning.agents.agent import Agent, Weights
from polserve.training.learning.collector import ChooseActions, Collector
from polserve.training.learning.hyperparameters import LoopConfig, RewardConfig
from polserve.training.learning.interrupts import Interrupted, interruptible
from polserve.training.learning.saved_state import restore_rng, rng_state
from polserve.training.learning.throughput import Throughput
from polserve.training.learning.updates import Learner

RECENT_EPISODES = 100


@dataclass(frozen=True, slots=True)
class Parts:
    """What a loop works with."""

    agent: Agent
    learner: Learner
    envs: VecEnv
    score: Callable[[ChooseActions], float]
    """How good a policy is, by episodes that nothing is learned from: the higher, the better."""
    score_name: str
    """What the score is, for people."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands."""

    step: int
    steps: int
    episodes: int
    recent_return: float | None
    """Mean over the latest training episodes; None before the first ended."""
    best_return: float | None
    """Mean of the best greedy evaluation; None before the first."""
    elapsed_s: float
    steps_per_s: float
    """Environment steps, everything included."""
    environment_steps_per_s: float
    """The environments alone, with what they do to their frames."""
    samples_per_s: float
    """Transitions learned from, the learner alone; 0 before it began."""


class Monitor(Protocol):
    """Who wants to know how training goes."""

    def report(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """Called every `log_every` steps, with figures by metric path."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Called with a complete state now and then, and at the end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training left."""

    weights: Weights
    """Of the best greedy evaluation; the latest where it was asked to stop before the first."""
    best_return: float
    """NaN where it was asked to stop before the first."""
    step: int
    episodes: int
    elapsed_s: float
    curve: list[tuple[int, float]]
    """(step, score) of every greedy evaluation."""
    score_name: str
    """What the scores are."""
    is_complete: bool
    """False when it was asked to stop before its end."""


class Loop:
    """Training of one agent in one vector environment; a pure function of the seed on a CPU."""

    def __init__(self, parts: Parts, rewards: RewardConfig, config: LoopConfig, seed: int) -> None:
        """Reset the environments with `seed`."""
        self._parts = parts
        self._agent = parts.agent
        self._rewards = rewards
        self._config = config
        self._rng = np.random.default_rng(seed)
        self._collector = Collector(parts.envs, seed, is_life_terminal=config.life_loss_is_terminal)
        self._step = 0
        self._episodes = 0
        self._elapsed_before_s = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT_EPISODES)
        self._curve: list[tuple[int, float]] = []
        self._best: Weights | None = None
        self._best_return = -np.inf
        self._learning = Throughput()

    def run(self, monitor: Monitor, should_stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Train until the steps are used, the return is reached, or `should_stop` says so."""
        started = time.monotonic()
        try:
            self._learn(monitor, should_stop, started)
            if self._best is None or self._curve[-1][0] < self._step:  # where an earlier run was interrupted in it
                self.evaluate(should_stop)
            is_complete = True
        except Interrupted:
            is_complete = False
        elapsed_s = time.monotonic() - started
        self._report(monitor, elapsed_s)
        monitor.save(self.state(elapsed_s))
        return self._outcome(elapsed_s, is_complete=is_complete)

    def evaluate(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Score the greedy policy; the weights are kept if they are the best so far.

        Raises:
            Interrupted: `should_stop` said so before the end.
        """
        score = self._parts.score(interruptible(self._agent.greedy, should_stop))
        self._curve.append((self._step, score))
        if score > self._best_return:
            self._best_return, self._best = score, self._agent.weights()

    def state(self, elapsed_s: float = 0.0) -> dict[str, Any]:
        """Everything that `load_state` needs; `elapsed_s` is the time since this loop began."""
        return {
            "agent": self._agent.state(),
            "learner": self._parts.learner.state(),
            "rng": rng_state(self._rng),
            "step": self._step,
            "episodes": self._episodes,
            "elapsed_s": self._elapsed_before_s + elapsed_s,
            "recent": list(self._recent),
            "curve": list(self._curve),
            "best": self._best,
            "best_return": self._best_return,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; the environments begin new episodes.

        Raises:
            CheckpointError: the state is of another network or replay.
        """
        try:
            self._agent.load_state(state["agent"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint does not fit this run's network ({str(error).splitlines()[0]}); "
                "resume with the settings that the run was started with"
            ) from error
        self._parts.learner.load_state(state["learner"])
        restore_rng(self._rng, state["rng"])
        self._step, self._episodes = state["step"], state["episodes"]
        self._elapsed_before_s = state["elapsed_s"]
        self._recent.extend(state["recent"])
        self._curve = [(step, value) for step, value in state["curve"]]
        self._best, self._best_return = state["best"], state["best_return"]

    def _learn(self, monitor: Monitor, should_stop: Callable[[], bool], started: float) -> None:
        """Learn until the steps are used or the return is reached; raises Interrupted if asked to stop before."""
        config, saved = self._config, started
        while not self._is_reached():
            if should_stop():
                raise Interrupted
            before = self._step
            self._advance()
            if _crosses(before, self._step, config.evaluate_every) or self._step >= config.steps:
                self.evaluate(should_stop)
            if _crosses(before, self._step, config.log_every):
                self._report(monitor, time.monotonic() - started)
            if time.monotonic() - saved > config.checkpoint_every_s:
                saved = time.monotonic()
                monitor.save(self.state(saved - started))

    def _advance(self) -> None:
        step = self._collector.step(lambda observations: self._agent.explore(observations, self._step, self._rng))
        self._step += int(step.is_real.sum())
        for episode in self._collector.finished():
            self._episodes += 1
            self._recent.append(episode.episode_return)
        with self._learning.timing():
            self._learning.add(self._parts.learner.observe(self._rewards.apply(step), self._rng))

    def _is_reached(self) -> bool:
        stop_return = self._config.stop_return
        return self._step >= self._config.steps or (stop_return is not None and self._best_return >= stop_return)

    def _report(self, monitor: Monitor, elapsed_s: float) -> None:
        recent = float(np.mean(self._recent)) if self._recent else None
        total_s = self._elapsed_before_s + elapsed_s
        progress = Progress(
            step=self._step,
            steps=self._config.steps,
            episodes=self._episodes,
            recent_return=recent,
            best_return=self._best_return if self._curve else None,
            elapsed_s=total_s,
            steps_per_s=self._step / max(total_s, 1e-9),
            environment_steps_per_s=self._collector.throughput.look(),
            samples_per_s=self._learning.look(),
        )
        metrics = {
            **self._agent.losses(),
            **self._agent.exploration(self._step),
            "charts/sps": progress.steps_per_s,
            "charts/environment_sps": progress.environment_steps_per_s,
            "charts/samples_per_s": progress.samples_per_s,
        }
        if recent is not None:
            metrics["charts/episodic_return"] = recent
        if self._curve:
            metrics["charts/greedy_return"] = self._curve[-1][1]
        monitor.report(progress, metrics)

    def _outcome(self, elapsed_s: float, *, is_complete: bool) -> Outcome:
        if self._best is None and is_complete:
            raise InvalidOption(
                f"no greedy evaluation gave a number (the last one {self._curve[-1][1]}): training diverged, or the "
                "environment's rewards are no numbers; lower the learning rate, or mend the environment"
            )
        return Outcome(
            weights=self._best if self._best is not None else self._agent.weights(),
            best_return=self._best_return if self._best is not None else np.nan,
            step=self._step,
            episodes=self._episodes,
            elapsed_s=self._elapsed_before_s + elapsed_s,
            curve=self._curve,
            score_name=self._parts.score_name,
            is_complete=is_complete,
        )


def _crosses(before: int, after: int, every: int) -> bool:
    return before // every != after // every
