"""From a CleanRL script's saved model to an imported policy."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import nn

from polserve.training.environments.spaces import short
from polserve.training.errors import ImportRefused, require
from polserve.training.imports.cleanrl.choosing import Bounds, choose
from polserve.training.imports.cleanrl.heads import Squashed
from polserve.training.imports.cleanrl.networks import ACTIVATIONS, IMAGE, Observed, Rebuilt, rebuild
from polserve.training.imports.cleanrl.reading import SavedPolicy, read_saved
from polserve.training.imports.imported import ImportedPolicy, Source
from polserve.training.imports.layers import Clipped, Normalize
from polserve.training.imports.normalizing import read_statistics
from polserve.training.imports.places import Place
from polserve.training.versions.export import answers

UNNORMALISED = (
    "ppo_continuous_action.py normalises observations by running statistics, which it does not save: if this policy "
    "was trained with them, give their mean and var by --normalize FILE.npz"
)


@dataclass(frozen=True, slots=True)
class CleanrlOptions:
    """What a person tells of a CleanRL file that it does not tell itself.

    Raises:
        InvalidOption: there is no such activation.
    """

    activation: str = ""
    """The activation between layers; "" for the script's."""
    normalize: Path | None = None
    """File of the statistics of NormalizeObservation, an .npz; None for none."""
    bounds: Bounds | None = None
    """Lowest and highest value of an action's components, where neither file nor environment tells them."""

    def __post_init__(self) -> None:
        """Check what can be checked before the file is read."""
        known = " or ".join(ACTIVATIONS)
        require(not self.activation or self.activation in ACTIVATIONS, "activation", known, repr(self.activation))


def read_cleanrl(path: Path, options: CleanrlOptions, place: Place) -> ImportedPolicy:
    """Read a CleanRL script's saved model for the environment that was named.

    Raises:
        ImportRefused: it is none, or it is of another environment.
    """
    saved = read_saved(path)
    rebuilt = rebuild(saved, options.activation or None)
    observed = _observation_space(path, rebuilt, place)
    head, actions = choose(path, saved, rebuilt, place, options.bounds)
    before = [_normalizing(options.normalize, observed)] if options.normalize else []
    network = nn.Sequential(*before, Observed(is_image=rebuilt.is_convolutional), rebuilt.body)
    _check_runs(path, network, observed)
    graph = nn.Sequential(network, head).eval()
    is_bare = saved.algorithm == "ppo" and isinstance(actions, Box) and not options.normalize
    return ImportedPolicy(
        algorithm=saved.algorithm,
        graph=graph,
        observation_space=observed,
        action_space=actions,
        source=Source.of(path, "CleanRL", str(saved.settings.get("exp_name", saved.algorithm))),
        original=lambda observations: answers(graph, observations)["action"],
        original_name="the network rebuilt in torch",
        preferences=_preferences(network, head),
        settings={name: value for name, value in saved.settings.items() if _is_plain(value)},
        seed=_whole(saved, "seed"),
        environment_steps=_whole(saved, "total_timesteps"),
        notes=(UNNORMALISED,) if is_bare else (),
    )


def _whole(saved: SavedPolicy, name: str) -> int:
    value = saved.settings.get(name)
    return value if isinstance(value, int) else 0


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def _observation_space(path: Path, rebuilt: Rebuilt, place: Place) -> Box:
    """Space of the environment where it is installed, else of what the network takes."""
    if place.facts is not None:
        space = place.facts.observation_space
        channels = space.shape[0] if len(space.shape) == 3 else 0  # noqa: PLR2004 - channels, height, width
        taken = channels if rebuilt.is_convolutional else prod(space.shape)
        if taken != rebuilt.inputs:
            raise ImportRefused(
                f"{path.name}: the network takes {_taken(rebuilt)}, got an environment, {place.environment.id}, that "
                f"has {short(space)}; name the one that it was trained in, with its wrappers (--env, --module)"
            )
        return space
    if rebuilt.is_convolutional:
        return Box(0, 255, (rebuilt.inputs, *IMAGE), np.uint8)
    return Box(-np.inf, np.inf, (rebuilt.inputs,), np.float32)


def _taken(rebuilt: Rebuilt) -> str:
    if rebuilt.is_convolutional:
        return f"images of {rebuilt.inputs} channels, (channels, height, width)"
    return f"{rebuilt.inputs} numbers"


def _check_runs(path: Path, network: nn.Module, space: Box) -> None:
    """Raise ImportRefused where the network does not take images of the environment's size."""
    try:
        with torch.no_grad():
            network(torch.from_numpy(np.zeros((2, *space.shape), space.dtype)))
    except RuntimeError as error:
        raise ImportRefused(
            f"{path.name}: the network takes no observations of {space.shape}: {' '.join(str(error).split())}; name "
            "the environment that it was trained in, with its wrappers"
        ) from error


def _normalizing(path: Path, space: Box) -> nn.Module:
    """Read running statistics of observations, which are frozen."""
    statistics = read_statistics(path)
    if statistics is None or statistics.mean.size != prod(space.shape):
        got = "none of observations" if statistics is None else f"those of {statistics.mean.shape}"
        raise ImportRefused(f"{path.name}: expected statistics of observations {space.shape}, got {got}")
    shaped = statistics.shaped(space.shape)
    return Normalize(torch.from_numpy(shaped.mean), torch.from_numpy(shaped.deviation), shaped.clip)


def _preferences(network: nn.Module, head: nn.Module) -> Any:
    """Return what the arg-max is taken of, where actions are discrete."""
    if isinstance(head, (Squashed, Clipped)):
        return None

    @torch.no_grad()
    def preferences(observations: NDArray[Any]) -> NDArray[Any]:
        numbers = network(torch.from_numpy(observations))
        answer = head(numbers)
        return np.asarray((answer[1] if isinstance(answer, tuple) else numbers).numpy())

    return preferences
