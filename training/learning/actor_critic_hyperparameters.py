"""Hyper-parameters of agents whose actions are continuous; light to import, as `hyperparameters`."""

from dataclasses import dataclass

from polserve.training.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class DdpgConfig:
    """Hyper-parameters of DDPG; noise is in halves of the action's range, steps are environment steps."""

    actor_learning_rate: float = 1e-4
    """Learning rate of Adam, for the actor; Lillicrap et al. 2016."""
    critic_learning_rate: float = 1e-3
    """Learning rate of Adam, for the critics; Lillicrap et al. 2016."""
    learning_rate_end: float = 1.0
    """Factor of both learning rates after `learning_rate_updates`; linear in between."""
    learning_rate_updates: int = 1
    """Updates over which the learning rates move to their end."""
    batch_size: int = 64
    """Transitions per update; Lillicrap et al. 2016."""
    discount: float = 0.99
    """gamma, per step."""
    n_step: int = 1
    """Steps of reward before the target bootstraps."""
    target_tau: float = 0.001
    """Polyak step of the target networks per update, in (0, 1]; Lillicrap et al. 2016, 0.005 in TD3."""
    noise_start: float = 0.2
    """Standard deviation of the Gaussian exploration noise at step 0."""
    noise_end: float = 0.2
    """Standard deviation of the noise from `noise_steps` on."""
    noise_steps: int = 1
    """Steps over which it moves to its end."""
    noise_memory: int = 1
    """Longest time over which the noise and the random actions are alike, in steps; 1 draws each anew."""
    random_steps: int = 0
    """Steps of uniformly random actions at the beginning."""
    twin_critics: bool = False
    """Learn two critics, and take the lesser value of the two for the target (TD3)."""
    policy_delay: int = 1
    """Updates of the critics for each of the actor and the targets; 2 in TD3."""
    target_noise: float = 0.0
    """Standard deviation of the noise on the target's action, which smooths the target; 0.2 in TD3."""
    target_noise_clip: float = 0.5
    """Most of that noise (TD3)."""
    acts_by_target: bool = False
    """Be evaluated and exported by the target actor, an average over the latest updates."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        for name in ("batch_size", "n_step", "policy_delay", "learning_rate_updates", "noise_steps", "noise_memory"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("actor_learning_rate", "critic_learning_rate", "learning_rate_end"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        for name in ("noise_start", "noise_end", "target_noise", "target_noise_clip", "random_steps"):
            require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        require(0 <= self.discount <= 1, "discount", "a number from 0 to 1", self.discount)
        require(0 < self.target_tau <= 1, "target_tau", "a number above 0, up to 1", self.target_tau)


@dataclass(frozen=True, slots=True, kw_only=True)
class SacConfig:
    """Hyper-parameters of SAC (Haarnoja et al. 2018, with the temperature learned); steps are environment steps."""

    actor_learning_rate: float = 3e-4
    """Learning rate of Adam, for the actor; Haarnoja et al. 2018."""
    critic_learning_rate: float = 1e-3
    """Learning rate of Adam, for the critics; Haarnoja et al. have 3e-4."""
    temperature_learning_rate: float = 1e-3
    """Learning rate of Adam, for the temperature; likewise."""
    temperature: float = 0.01
    """What a unit of entropy is worth in rewards, at the start; then learned. A reward is about 0.01 where returns of
    100 steps are about 1, as they are when rewards are scaled by them."""
    target_entropy: float = -1.0
    """Entropy that the temperature aims at, for each component of the action in halves of its range."""
    batch_size: int = 256
    """Transitions per update; Haarnoja et al. 2018."""
    discount: float = 0.99
    """gamma, per step."""
    n_step: int = 1
    """Steps of reward before the target bootstraps; the entropy counts for the last one alone."""
    target_tau: float = 0.005
    """Polyak step of the target critics per update, in (0, 1]; Haarnoja et al. 2018."""
    random_steps: int = 5_000
    """Steps of uniformly random actions at the beginning, which are learned from meanwhile."""
    noise_memory: int = 64
    """Longest time over which actions are drawn, and are random, alike, in steps; 1 draws each anew. About that of pink
    noise (Eberhard et al. 2023), which gets a car out of a valley where independent noise never does."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        for name in ("batch_size", "n_step", "noise_memory"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("actor_learning_rate", "critic_learning_rate", "temperature_learning_rate", "temperature"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(self.random_steps >= 0, "random_steps", "at least 0", self.random_steps)
        require(0 <= self.discount <= 1, "discount", "a number from 0 to 1", self.discount)
        require(0 < self.target_tau <= 1, "target_tau", "a number above 0, up to 1", self.target_tau)
