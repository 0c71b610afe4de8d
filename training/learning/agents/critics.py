"""What agents of continuous actions have beside their actor: critics, the targets that follow them, an optimiser."""

import copy
from typing import Any

from torch import Tensor

from polserve.training.learning.agents.actor_critic import ActorDesign, Critics
from polserve.training.learning.agents.continuous import adam, descend
from polserve.training.learning.agents.losses import move_towards
from polserve.training.learning.compute import Compute


class FollowedCritics:
    """Critics of what an actor does, and copies of them that follow slowly, by which targets are computed."""

    def __init__(self, design: ActorDesign, n: int, compute: Compute, learning_rate: float) -> None:
        """Make `n` critics, one or two, on the device."""
        self.online = Critics(design, n).to(compute.device)
        self._targets = copy.deepcopy(self.online).requires_grad_(requires_grad=False)
        self._optimizer = adam(self.online, learning_rate)

    def least(self, features: Tensor, action: Tensor) -> Tensor:
        """Values (batch,) by the critic that expects least (Fujimoto et al. 2018)."""
        least: Tensor = self.online(features, action).min(dim=1).values
        return least

    def least_target(self, features: Tensor, action: Tensor) -> Tensor:
        """Values (batch,) by the target that expects least."""
        least: Tensor = self._targets(features, action).min(dim=1).values
        return least

    def regress(self, features: Tensor, action: Tensor, target: Tensor, learning_rate: float) -> dict[str, Tensor]:
        """Move the values of actions towards `target` (batch,) by one step; return the loss and the mean value."""
        values = self.online(features, action)
        loss = (values - target[:, None]).square().sum(dim=1).mean()
        descend(self._optimizer, loss, learning_rate)
        return {"critic": loss.detach(), "value_mean": values.detach().mean()}

    def follow(self, tau: float) -> None:
        """Move the targets towards the critics, by a share."""
        move_towards(self._targets, self.online, tau)

    def parts(self) -> dict[str, Any]:
        """Everything with a state, by the name that checkpoints have for it."""
        return {"critics": self.online, "target_critics": self._targets, "critic_optimizer": self._optimizer}
