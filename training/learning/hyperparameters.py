"""Hyper-parameters: what a run's recipe is made of. Light to import, so that a wrong one is told before torch loads."""

from dataclasses import dataclass, replace
from typing import Literal

from polserve.training.environments.limits import EVALUATION_ENVS, MAX_EVALUATION_STEPS
from polserve.training.errors import require
from polserve.training.learning.rewards import Treatment, treat
from polserve.training.learning.schedules import linear
from polserve.training.learning.transitions import VectorStep

Loss = Literal["huber", "squared"]
Padding = Literal["valid", "same"]
Pixels = Literal["unit", "guide"]
Scaling = bool | Literal["auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long and how densely to learn; steps are environment steps, over all environments together."""

    steps: int = 100_000
    """Environment steps; training ends with the step of all environments that reaches them."""
    n_envs: int = 16
    """Environments stepped together."""
    life_loss_is_terminal: bool = False
    """Learn from the loss of a life as from an episode's end, where the environment tells its lives."""
    evaluate_every: int = 5_000
    """Steps between two greedy evaluations, which choose the checkpoint to keep."""
    selection_episodes: int = 30
    """Episodes of such an evaluation; fewer where the policy is clearly worse than the best one by then."""
    selection_share: float = 0.5
    """Largest part of all environment steps that these evaluations take, in (0, 1]; one that is due waits until it is
    no more. The first and the last never wait."""
    evaluation_episodes: int = 100
    """Episodes of the final evaluation, on other seeds."""
    max_evaluation_steps: int = MAX_EVALUATION_STEPS
    """Steps after which an episode of either is cut off, so that one without end ends."""
    evaluation_envs: int | None = None
    """Environments that either plays in together at most; None for 100, and for 1 where `n_envs` is 1. Where both are
    1, only one environment exists at any time: an evaluation waits for the end of training's episode."""
    stop_return: float | None = None
    """Mean return of such an evaluation at which training ends; None to use all steps."""
    log_every: int = 1_000
    """Steps between two reports to the monitor."""
    checkpoint_every_s: float = 120.0
    """Seconds between two checkpoints; 0 saves one after every step."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        for name in ("steps", "n_envs", "evaluate_every", "selection_episodes", "log_every", "max_evaluation_steps"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        require(0 < self.selection_share <= 1, "selection_share", "a number above 0, up to 1", self.selection_share)
        episodes = self.evaluation_episodes
        require(episodes >= 2, "evaluation_episodes", "at least 2", episodes)  # noqa: PLR2004 - a spread needs two
        every_s = self.checkpoint_every_s
        require(every_s >= 0, "checkpoint_every_s", "at least 0", every_s)
        envs = self.evaluation_envs
        require(envs is None or envs >= 1, "evaluation_envs", "at least 1", envs)

    @property
    def most_evaluation_envs(self) -> int:
        """Environments that an evaluation plays in together at most."""
        if self.evaluation_envs is None:
            return 1 if self.n_envs == 1 else EVALUATION_ENVS
        return self.evaluation_envs

    @property
    def has_one_env(self) -> bool:
        """Whether only one environment may exist at any time."""
        return self.n_envs == self.most_evaluation_envs == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """What is learned from in place of the reward."""

    reward_treatment: Treatment = "none"
    """Clip to [-1, 1], signed square root, or none."""
    reward_scale: float = 1.0
    """Factor after the treatment."""
    scale_by_returns: Scaling = False
    """true divides rewards by the running standard deviation of their discounted sums, so that values are about 1 at
    any scale of rewards (Engstrom et al. 2020). auto learns from them as they are, unless the largest discounted return
    until the first update is below 0.1 or above 2,000 (500 for PQN): then from all times one power of ten, and values
    that the policy answers are divided by it."""

    def __post_init__(self) -> None:
        """Check the range; raises InvalidOption."""
        require(self.reward_scale > 0, "reward_scale", "a positive number", self.reward_scale)

    def apply(self, step: VectorStep) -> VectorStep:
        """Step with its reward treated."""
        return replace(step, reward_t=treat(step.reward_t, self.reward_treatment, self.reward_scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """How a replay is kept and learned from; steps are environment steps."""

    replay_capacity: int = 100_000
    """Transitions kept."""
    learning_starts: int = 1_000
    """Steps kept before the first update."""
    updates_per_vector_step: int = 4
    """Updates each time that all environments were stepped once."""
    checkpoint_replay: bool = True
    """Save the replay with each checkpoint; without it a resumed run first fills a new one, by a quarter at most."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        for name in ("learning_starts", "updates_per_vector_step"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Shape of a value network; images get convolutions, anything else a multi-layer perceptron."""

    hidden_sizes: tuple[int, ...] = (128, 128)
    """Units of the hidden layers; after convolutions those of the dense ones, (512,) in Mnih et al. 2015."""
    dueling: bool = False
    """One stream for the state's value and one for the actions' advantages (Wang et al. 2016)."""
    quantiles: int = 1
    """Quantiles of the return, per action (QR-DQN, Dabney et al. 2018, has 200); 1 learns the mean alone."""
    layer_norm: bool = False
    """Normalise before every activation (PQN, Gallici et al. 2024)."""
    padding: Padding = "valid"
    """Padding of the convolutions; "same" is that of Geron 2017."""
    pixels: Pixels = "unit"
    """Scale of a pixel x from 0 to 255: "unit" is x / 255, "guide" is (x - 128) / 128 - 1 as in Geron 2017."""
    standardise: bool = False
    """Standardise the numbers of observations by their running means and deviations, which become a part of the graph;
    images and categories have scales of their own."""
    mixed_precision: bool = False
    """Convolve in bfloat16 where the device is faster at it; the last layer stays in float32."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        sizes = self.hidden_sizes
        require(len(sizes) >= 1 and all(size >= 1 for size in sizes), "hidden_sizes", "sizes of at least 1", sizes)
        require(self.quantiles >= 1, "quantiles", "at least 1", self.quantiles)


ONLY_OF_ACTION_VALUES = frozenset(("dueling", "quantiles", "padding", "pixels", "mixed_precision"))
"""Settings of `NetworkConfig` that agents of continuous actions do not use: they are of networks of actions' values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorationConfig:
    """How often a random action is tried, and for how long; steps are environment steps."""

    epsilon_start: float = 1.0
    """Probability of a random action at step 0."""
    epsilon_end: float = 0.05
    """Probability of a random action from `epsilon_steps` on."""
    epsilon_steps: int = 10_000
    """Steps over which epsilon falls linearly."""
    repeat_exponent: float | None = None
    """A random action is repeated n times with probability in proportion to n to the power of minus this, which must
    be above 1 (Dabney et al. 2021, who take 2); None for once. It finds goals that single steps never reach."""
    repeat_share: float = 1.0
    """Part of the environments in which random actions are repeated, above 0, and in one at least. In the others each
    is drawn anew: where a long repetition ends most episodes, as in LunarLander, repeating ones teach little."""
    waits_for_signal: bool = False
    """Epsilon stays at its start until two rewards differed, or an episode ended by itself where each step is rewarded,
    and falls from then on: before that, as in MountainCar, all that was tried is worth the same."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        require(self.epsilon_steps >= 1, "epsilon_steps", "at least 1", self.epsilon_steps)
        for name in ("epsilon_start", "epsilon_end"):
            require(0 <= getattr(self, name) <= 1, name, "a number from 0 to 1", getattr(self, name))
        exponent = self.repeat_exponent
        require(exponent is None or exponent > 1, "repeat_exponent", "a number above 1", exponent)
        require(0 < self.repeat_share <= 1, "repeat_share", "a number above 0, up to 1", self.repeat_share)

    def epsilon(self, step: int) -> float:
        """Probability of a random action at environment step `step`."""
        return linear(step, self.epsilon_start, self.epsilon_end, self.epsilon_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class DqnConfig:
    """Hyper-parameters of DQN. Defaults suit small control problems; steps are environment steps."""

    learning_rate: float = 1e-3
    """Learning rate of Adam (Kingma and Ba 2015), at the start."""
    learning_rate_end: float = 1e-3
    """Learning rate of Adam after `learning_rate_updates`; linear in between."""
    learning_rate_updates: int = 1
    """Updates over which the learning rate moves to its end."""
    adam_epsilon: float = 1e-8
    """Added to Adam's denominator; Mnih et al. used 0.01 with RMSProp."""
    batch_size: int = 128
    """Transitions per update; Mnih et al. used 32."""
    discount: float = 0.99
    """gamma, per step."""
    n_step: int = 1
    """Steps of reward before the target bootstraps; 3 in Rainbow (Hessel et al. 2018)."""
    double: bool = True
    """Choose the target's action by the online network (van Hasselt et al. 2016)."""
    loss: Loss = "huber"
    """Loss of the TD error. squared learns mean returns; huber has the bound 1, the error clipping of Mnih et al. 2015,
    and takes rare larger returns for less than they are worth. Quantiles have a loss of their own."""
    kappa: float | None = None
    """Bound of the quantile Huber loss (Dabney et al. 2018 have 1); None for a tenth of the size of its errors, which
    suits returns of any scale."""
    max_grad_norm: float | None = None
    """Gradients are scaled down to this L2 norm; None leaves them, as suits the Huber loss, which bounds them."""
    target_tau: float = 0.01
    """Polyak step of the target network each time it moves, in (0, 1]; 1 copies (Mnih et al. 2015)."""
    target_period: int = 1
    """Calls of `learn`, each of one or more updates, between two moves of the target network."""
    acts_by_target: bool = False
    """Act, be evaluated and be exported by the target network: with a small `target_tau` it is an average over the
    latest updates, whose policy changes less from one to the next (Schwarzer et al. 2023)."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        for name in ("batch_size", "n_step", "target_period", "learning_rate_updates"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("learning_rate", "learning_rate_end", "adam_epsilon", "kappa", "max_grad_norm"):
            value = getattr(self, name)
            require(value is None or value > 0, name, "a positive number", value)
        require(0 <= self.discount <= 1, "discount", "a number from 0 to 1", self.discount)
        require(0 < self.target_tau <= 1, "target_tau", "a number above 0, up to 1", self.target_tau)


@dataclass(frozen=True, slots=True, kw_only=True)
class PqnConfig:
    """Hyper-parameters of PQN; lambda, trajectory length, epochs and optimiser as its authors have them for Atari."""

    learning_rate: float = 2.5e-4
    """Learning rate of RAdam (Liu et al. 2020), at the start."""
    learning_rate_end: float = 2.5e-5
    """Learning rate of RAdam after `learning_rate_updates`; linear in between."""
    learning_rate_updates: int = 1_000_000
    """Updates over which the learning rate moves to its end."""
    rollout_steps: int = 32
    """Steps of each environment that are learned from together."""
    epochs: int = 2
    """Times that each of them is learned from."""
    batch_size: int = 256
    """Steps per update, nearly: the trajectories are split into batches of one size."""
    discount: float = 0.99
    """gamma, per step."""
    trace_decay: float = 0.65
    """lambda: how far rewards reach back, from 0 for one step to 1 for the whole trajectory."""
    max_grad_norm: float = 10.0
    """Gradients are scaled down to this L2 norm."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        for name in ("learning_rate_updates", "rollout_steps", "epochs", "batch_size"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("learning_rate", "learning_rate_end", "max_grad_norm"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        for name in ("discount", "trace_decay"):
            require(0 <= getattr(self, name) <= 1, name, "a number from 0 to 1", getattr(self, name))
