"""Targets and losses of value learning; pure functions."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from polserve.training.learning.hyperparameters import Loss
from polserve.training.learning.transitions import Trajectories


def q_learning_target(q_t_target: Tensor, q_t_selector: Tensor, reward_t: Tensor, discount_t: Tensor) -> Tensor:
    """Reward plus discounted value, by `q_t_target`, of the action that `q_t_selector` holds to be best.

    With one network for both it is Q-learning; with target and online network it is Double DQN
    (van Hasselt et al. 2016, equation 4).

    Args:
        q_t_target: (n, actions) values at t that are bootstrapped from, or (n, actions, quantiles) of the return.
        q_t_selector: (n, actions) values at t that choose the action.
        reward_t: (n,).
        discount_t: (n,) gamma to the power of the steps taken, or 0 where the episode terminated.

    Returns:
        (n,) targets, or (n, quantiles).
    """
    action_t = q_t_selector.argmax(dim=1)
    taken = take(q_t_target, action_t)
    if taken.dim() == 1:
        return reward_t + discount_t * taken
    return reward_t.unsqueeze(1) + discount_t.unsqueeze(1) * taken


def q_lambda_target(
    best_t: NDArray[np.float32], trajectories: Trajectories, discount: float, trace_decay: float
) -> NDArray[np.float32]:
    """Q(lambda) targets (steps, n): rewards as far as trajectory and episode reach, mixed with values on the way.

    R_t = r_t + gamma (lambda R_t+1 + (1 - lambda) max Q(s_t+1)), Gallici et al. 2024, equation 10; at the end of the
    trajectory or of an episode that was cut off, only the value is left; after a terminal state nothing is.

    Args:
        best_t: (steps, n) highest value of the observation that each step led to.
        trajectories: of `steps` steps of n environments.
        discount: gamma.
        trace_decay: lambda.
    """
    target = np.empty_like(best_t)
    later = best_t[-1]
    reaches_on = np.zeros(best_t.shape[1], np.bool_)  # whether the next step belongs to the same episode and trajectory
    for t in range(len(best_t) - 1, -1, -1):
        reaches_on = reaches_on & ~trajectories.is_over[t]
        mixed = np.where(reaches_on, trace_decay * later + (1 - trace_decay) * best_t[t], best_t[t])
        target[t] = trajectories.reward_t[t] + discount * np.where(trajectories.is_terminated[t], 0, mixed)
        later = target[t]
        reaches_on = trajectories.is_real[t]
    return target


def take(values: Tensor, actions: Tensor) -> Tensor:
    """Values (n, ...) of one action each, of values (n, actions, ...) of all."""
    return values[torch.arange(len(values), device=values.device), actions]


def td_loss(q_taken_tm1: Tensor, target: Tensor, kind: Loss) -> Tensor:
    """Mean loss of the values of the actions taken against their targets, both (n,).

    The kind is "huber" with bound 1, or "squared" (half the square, so that both agree near 0). Where errors are beyond
    that bound, the value of the least Huber loss is not the mean of the targets.
    """
    if kind == "huber":
        return functional.smooth_l1_loss(q_taken_tm1, target)
    return 0.5 * functional.mse_loss(q_taken_tm1, target)


def quantile_loss(quantiles_tm1: Tensor, target: Tensor, kappa: float = 1.0) -> Tensor:
    """Quantile Huber loss (Dabney et al. 2018, equation 10), summed over quantiles, mean over the batch.

    Args:
        quantiles_tm1: (n, quantiles) of the return of the action taken, at the midpoints of equal parts of [0, 1].
        target: (n, m) samples of the return.
        kappa: bound between the square and the absolute error. Where errors lie within it the loss learns expectiles
            instead of quantiles, whose mean is not the mean of the return.
    """
    n_quantiles = quantiles_tm1.shape[1]
    midpoints = (torch.arange(n_quantiles, device=quantiles_tm1.device) + 0.5) / n_quantiles
    error = target.unsqueeze(1) - quantiles_tm1.unsqueeze(2)  # (n, quantiles, m)
    weight = (midpoints.view(1, -1, 1) - (error < 0).to(error.dtype)).abs()
    loss: Tensor = weight * functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=kappa)
    return loss.mean(dim=2).sum(dim=1).mean()


class RelativeKappa:
    """Bound of the quantile loss as a part of the size of its errors, of which it keeps a running mean."""

    PART = 0.1
    """So small that the mean of the quantiles is that of the return, of returns of 0 and 1, too."""
    KEPT = 0.99
    """Part of the running mean that an update keeps: it covers about a hundred updates."""
    LEAST = 1e-8
    """Smallest bound, where returns are all alike."""

    def __init__(self) -> None:
        self.error_size: float | None = None
        """Running mean of how far targets are from the means of the quantiles; None before the first."""

    def of(self, quantiles_tm1: Tensor, target: Tensor) -> float:
        """Bound for an update; takes its errors in."""
        size = float((target - quantiles_tm1.detach().mean(dim=1, keepdim=True)).abs().mean())
        kept = self.KEPT if self.error_size is not None else 0.0
        self.error_size = kept * (self.error_size or 0.0) + (1 - kept) * size
        return max(self.LEAST, self.PART * self.error_size)


@torch.no_grad()
def move_towards(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Move every parameter of `target` the share `tau` of its way to that of `online`."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), tau)
