"""What a person asks of an import, whatever tool the file is of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polserve.training.environments.limits import EVALUATION_ENVS, EVALUATION_EPISODES, MAX_EVALUATION_STEPS
from polserve.training.environments.makers import EnvMaker, maker_name
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.environments.old_gym import split_module
from polserve.training.errors import InvalidOption, require
from polserve.training.imports.places import Place
from polserve.training.registry.names import check_policy_name, policy_name_from
from polserve.training.runs.request import name_after

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What becomes of an imported policy: its name, its environment, and how it is evaluated.

    Raises:
        InvalidOption: the name is none, or a number is out of range.
    """

    env: str = ""
    """Gymnasium id of the environment; "" for none."""
    module: str = ""
    """Python module that registers the id."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    """Name of the policy; None for one after the environment, or after the file."""
    episodes: int = EVALUATION_EPISODES
    """Evaluation episodes of the policy, and of the random one."""
    max_steps: int = MAX_EVALUATION_STEPS
    """Steps after which an evaluation episode is cut off."""
    folder: Path | None = None
    """Folder of policies that the version is written into; None to register it in MLflow instead."""
    tracking_uri: str | None = None
    """The MLflow store; None for that of MLFLOW_TRACKING_URI, or ./mlflow.db."""
    sign_key: "Ed25519PrivateKey | None" = None
    """What signs the version; None for no signature."""
    maker: EnvMaker | None = None
    """What makes the environment, in place of an id."""
    envs: int = EVALUATION_ENVS
    """The most environments that exist at a time."""

    def __post_init__(self) -> None:
        """Check what can be checked before the file is read."""
        require(self.episodes > 1, "episodes", "2 or more", self.episodes)
        require(self.max_steps > 0, "max_steps", "1 or more", self.max_steps)
        require(self.envs > 0, "envs", "1 or more", self.envs)
        if not self.env and self.maker is None and (self.module or self.env_kwargs):
            raise InvalidOption("module and env_kwargs go with an environment; name it with --env")
        if self.name is not None:
            check_policy_name(self.name)

    def environment(self) -> EnvironmentSpec | None:
        """Environment that is named; None for none."""
        if self.maker is not None:
            return EnvironmentSpec(
                maker_name(self.maker, self.env_kwargs), self.env_kwargs, self.module, maker=self.maker
            )
        if not self.env:
            return None
        module, name = (self.module, self.env) if self.module else split_module(self.env)
        return EnvironmentSpec(name, self.env_kwargs, module)

    def policy_name(self, place: Place, file: str) -> str:
        """Name of the policy: the one asked for, else one after the environment, else one after the file."""
        if self.name is not None:
            return self.name
        if place.environment.id:
            return name_after(place.environment.id)
        return policy_name_from(Path(file).stem) or "imported"
