"""Networks: from what the learner stores of an observation to the values of actions, or to their quantiles."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from polserve.training.learning.encoding import Encoded, Encoding
from polserve.training.learning.graph_wrappers import GraphWrappers
from polserve.training.learning.hyperparameters import NetworkConfig, Pixels
from polserve.training.learning.pictures import HIGHEST_PIXEL
from polserve.training.learning.views import Arranged, View

NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, kernel and stride of the convolutions of Mnih et al. 2015 (Nature 518, table of methods)."""
SMALL = ((32, 3, 1), (64, 3, 2), (64, 3, 2))
"""Convolutions for images that those would leave nothing of; with padding, so that no edge is lost."""


class QuantileNetwork(nn.Module):
    """A network of actions' values: the value of each is the mean of the quantiles of its return."""

    torso: nn.Sequential
    """From what is stored of observations to what `quantiles` takes."""

    def __init__(self, config: NetworkConfig, n_actions: int, wrappers: GraphWrappers | None = None) -> None:
        super().__init__()
        self.config = config
        self.n_actions = n_actions
        self.wrappers = wrappers or GraphWrappers()

    def forward(self, observation: Tensor) -> Tensor:
        """Values (n, n_actions) of observations (n, *shape) of any real dtype."""
        return self.quantiles(self.torso(self.wrappers(observation))).mean(dim=2)

    def quantiles(self, features: Tensor) -> Tensor:
        """Quantiles (n, n_actions, quantiles) of the return, from what the torso gave, in float32."""
        raise NotImplementedError


class ValueNetwork(QuantileNetwork):
    """A torso of convolutions or dense layers, as the observations are, and linear outputs."""

    def __init__(
        self,
        config: NetworkConfig,
        observation: View | Sequence[int],
        n_actions: int,
        encoding: Encoding | None = None,
        wrappers: GraphWrappers | None = None,
    ) -> None:
        """`observation` is a view, or the shape of stacked grey images or of a vector, which `encoding` may encode.

        It is so as the wrappers make it.
        """
        super().__init__(config, n_actions, wrappers)
        view = observation if isinstance(observation, View) else View.of_stack(observation)
        *inner, width = config.hidden_sizes
        sizes = [*inner, width * 2 if config.dueling else width]
        layers: list[nn.Module] = []
        if view.highest is not None and encoding is None:
            layers.append(_Pixels(config.pixels, view.highest))
        n_features = prod(view.shape)
        if encoding is not None:
            layers.append(Encoded(encoding))
            n_features = len(encoding.source)
        elif view.channels is None:
            layers.append(_Flat())
        else:
            layers += _convolutions(config, view)
            with torch.no_grad():
                n_features = nn.Sequential(*layers)(torch.zeros(1, *view.shape)).shape[1]
        for n_in, n_out in pairwise([n_features, *sizes]):
            layers += [nn.Linear(n_in, n_out), *_activation(config, (n_out,))]
        self.torso = nn.Sequential(*layers)
        self.advantage = nn.Linear(width, n_actions * config.quantiles)
        self.value = nn.Linear(width, config.quantiles) if config.dueling else None
        self._width = width

    def quantiles(self, features: Tensor) -> Tensor:
        """Quantiles (n, n_actions, quantiles) of the return, from what the torso gave, in float32."""
        features = features.to(torch.float32)
        advantage: Tensor = self.advantage(features[:, -self._width :]).unflatten(
            1, (self.n_actions, self.config.quantiles)
        )
        if self.value is None:
            return advantage
        value: Tensor = self.value(features[:, : self._width]).unsqueeze(1)
        return value + advantage - advantage.mean(dim=1, keepdim=True)


class GreedyPolicy(nn.Module):
    """What is exported for a value network: raw observation to the best action and all values."""

    def __init__(
        self,
        network: nn.Module,
        preprocessing: nn.Module | None = None,
        start: int = 0,
        widening: nn.Module | None = None,
        reward_factor: float = 1.0,
    ) -> None:
        """`start` is the number of the first action; `widening` makes all values of those that were learned.

        Rewards were learned from times `reward_factor`: values are divided by it, so that they are returns again.
        """
        super().__init__()
        self._start = start
        self.reward_factor: Tensor | None
        self.register_buffer("reward_factor", None if reward_factor == 1 else torch.tensor(reward_factor))
        self.preprocessing = preprocessing or nn.Identity()
        self.network = network
        self.widening = widening or nn.Identity()

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (n,) int64 and values (n, n_actions) float32 of observations (n, *shape)."""
        values = self.network(self.preprocessing(observation))
        best = values.argmax(dim=1)
        values = values if self.reward_factor is None else values / self.reward_factor
        return best + self._start if self._start else best, self.widening(values)


class _Flat(nn.Module):
    """Observations of any shape and dtype as float32 vectors."""

    def forward(self, observation: Tensor) -> Tensor:
        numbers = observation.to(torch.float32)
        return numbers.unsqueeze(1) if numbers.ndim == 1 else numbers.flatten(1)


class _Pixels(nn.Module):
    """Pixels from 0 to the highest as float32, scaled."""

    def __init__(self, kind: Pixels, highest: float) -> None:
        super().__init__()
        self._factor, self._offset = (1 / highest, 0.0) if kind == "unit" else (HIGHEST_PIXEL / highest / 128, -2.0)

    def forward(self, screens: Tensor) -> Tensor:
        scaled = screens.to(torch.float32) * self._factor
        return scaled + self._offset if self._offset else scaled


class _Float(nn.Module):
    """Numbers as float32."""

    def forward(self, observation: Tensor) -> Tensor:
        return observation.to(torch.float32)


def _convolutions(config: NetworkConfig, view: View) -> list[nn.Module]:
    """From images to features in one vector."""
    channels, height, width = view.seen_shape
    layers: list[nn.Module] = [_Float()] if view.highest is None else []
    layers += [] if view.channels == "first" else [Arranged(view)]
    layers += [nn.AvgPool2d(view.shrinking)] if view.shrinking != (1, 1) else []
    for n_out, kernel, stride in SMALL if view.is_small else NATURE:
        padding = (kernel - stride + 1) // 2 if config.padding == "same" or view.is_small else 0
        convolution = nn.Conv2d(channels, n_out, kernel, stride, padding)
        height = (height + 2 * padding - kernel) // stride + 1
        width = (width + 2 * padding - kernel) // stride + 1
        layers += [convolution, *_activation(config, (n_out, height, width))]
        channels = n_out
    return [*layers, nn.Flatten()]


def _activation(config: NetworkConfig, shape: tuple[int, ...]) -> list[nn.Module]:
    return [nn.LayerNorm(shape), nn.ReLU()] if config.layer_norm else [nn.ReLU()]
