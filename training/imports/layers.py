"""Modules between the raw observation and the action, of which importers put graphs together."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from polserve.training.environments.spaces import Floats


class Normalize(nn.Module):
    """Observations less the mean, by the standard deviation, clipped: VecNormalize's statistics, frozen."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, clip: float) -> None:
        """Take float64 statistics, in which VecNormalize computes."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.clip = clip

    def forward(self, observation: Tensor) -> Tensor:
        """Observations (n, *shape) as float32."""
        scaled = (observation.double() - self.mean) / self.deviation
        return scaled.clamp(-self.clip, self.clip).float()


class Arrange(nn.Module):
    """Axes of an observation in the order of the policy's: channels first, and stacked frames side by side."""

    def __init__(self, order: Sequence[int], shape: Sequence[int]) -> None:
        """Permute the axes after the first to `order`, which counts from 0, then reshape to `shape`."""
        super().__init__()
        self.order = (0, *(axis + 1 for axis in order))
        self.shape = tuple(shape)

    def forward(self, observation: Tensor) -> Tensor:
        """Observations (n, *raw) as (n, *shape)."""
        return observation.permute(self.order).reshape(-1, *self.shape)


class Scale(nn.Module):
    """Observations as float32, those of images divided by 255."""

    def __init__(self, *, is_image: bool) -> None:
        super().__init__()
        self.divisor = 255.0 if is_image else 1.0

    def forward(self, observation: Tensor) -> Tensor:
        """Observations (n, *shape) as float32."""
        return observation.float() / self.divisor if self.divisor != 1.0 else observation.float()


class OneHot(nn.Module):
    """Categories as ones among zeros, those of each number after those of the last."""

    places: Tensor
    numbers: Tensor

    def __init__(self, sizes: Sequence[int]) -> None:
        """Take the number of categories of each number."""
        super().__init__()
        self.register_buffer("places", torch.cat([torch.arange(size) for size in sizes]))
        self.register_buffer("numbers", torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)))

    def forward(self, categories: Tensor) -> Tensor:
        """Numbers (n, sum of sizes) as float32, of categories (n, *shape)."""
        flat = categories.flatten(1) if categories.ndim > 1 else categories[:, None]
        return (flat.long()[:, self.numbers] == self.places).float()


class Parts(nn.Module):
    """Parts of a flat observation, each encoded by a module of its own, and laid side by side again."""

    def __init__(self, sizes: Sequence[int], encoders: Sequence[nn.Module]) -> None:
        """Take the numbers of each part."""
        super().__init__()
        self.sizes = list(sizes)
        self.ends = list(accumulate(sizes))[:-1]
        self.encoders = nn.ModuleList(encoders)

    def forward(self, observation: Tensor) -> Tensor:
        """Numbers (n, width) as float32, of observations (n, size)."""
        parts = torch.tensor_split(observation.reshape(-1, sum(self.sizes)), self.ends, dim=1)
        encoded = [encoder(part) for encoder, part in zip(self.encoders, parts, strict=True)]
        return torch.cat(encoded, dim=1)


class NatureCnn(nn.Module):
    """SB3's NatureCNN, under the names that its weights have."""

    def __init__(self, channels: int, flat: int, features: int) -> None:
        """Build three convolutions (Mnih et al. 2015) and one linear layer from `flat` numbers to `features`."""
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(channels, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.linear = nn.Sequential(nn.Linear(flat, features), nn.ReLU())

    def forward(self, observation: Tensor) -> Tensor:
        """Features (n, features) of images (n, channels, height, width)."""
        features: Tensor = self.linear(self.cnn(observation))
        return features


class ByValue(nn.Module):
    """The action of the highest value, and the values."""

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (n,) int64 and values (n, actions)."""
        return values.argmax(dim=1), values


class ByQuantiles(nn.Module):
    """The action of the highest mean of quantiles, and the means."""

    def __init__(self, quantiles: int, actions: int) -> None:
        super().__init__()
        self.sizes = (quantiles, actions)

    def forward(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (n,) int64 and values (n, actions), of quantiles (n, quantiles * actions)."""
        values = flat.reshape(-1, *self.sizes).mean(dim=1)
        return values.argmax(dim=1), values


class ByLogits(nn.Module):
    """The likeliest action."""

    def forward(self, logits: Tensor) -> Tensor:
        """Actions (n,) int64."""
        return logits.argmax(dim=1)


class ByParts(nn.Module):
    """The likeliest value of each of several choices."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Take the number of values of each choice."""
        super().__init__()
        self.ends = list(accumulate(sizes))[:-1]

    def forward(self, logits: Tensor) -> Tensor:
        """Actions (n, k) int64."""
        return torch.stack([part.argmax(dim=1) for part in torch.tensor_split(logits, self.ends, dim=1)], dim=1)


class ByBits(nn.Module):
    """A one for each choice that is likelier made than not."""

    def forward(self, logits: Tensor) -> Tensor:
        """Actions (n, k) int64, 0 or 1."""
        return (logits > 0).long()


class Clipped(nn.Module):
    """Actions clipped to their bounds."""

    low: Tensor
    high: Tensor

    def __init__(self, low: Floats, high: Floats) -> None:
        super().__init__()
        self.register_buffer("low", torch.from_numpy(low))
        self.register_buffer("high", torch.from_numpy(high))

    def forward(self, actions: Tensor) -> Tensor:
        """Actions (n, k) float32."""
        return torch.minimum(torch.maximum(actions, self.low), self.high)


class Rescaled(nn.Module):
    """Actions from -1 to 1 in the environment's units."""

    low: Tensor
    extent: Tensor

    def __init__(self, low: Floats, high: Floats) -> None:
        super().__init__()
        self.register_buffer("low", torch.from_numpy(low))
        self.register_buffer("extent", torch.from_numpy(high - low))

    def forward(self, actions: Tensor) -> Tensor:
        """Actions (n, k) float32."""
        return self.low + 0.5 * (actions + 1.0) * self.extent


class Acting(nn.Module):
    """A whole policy: from the environment's observation to the action that it accepts."""

    def __init__(self, preprocessing: nn.Module, network: nn.Module, finishing: nn.Module) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.network = network
        self.finishing = finishing

    def forward(self, observation: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Actions, or actions and values, of observations (n, *shape)."""
        answer: Tensor | tuple[Tensor, Tensor] = self.finishing(self.network(self.preprocessing(observation)))
        return answer
