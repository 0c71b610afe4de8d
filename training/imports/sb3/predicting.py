"""The original of an SB3 policy: the library's own `predict`, on a policy object that is built, not unpickled."""

import importlib.util
from collections.abc import Callable
from importlib.metadata import version as installed_version
from math import prod
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Dict
from numpy.typing import NDArray

from polserve.training.imports.sb3.rebuilding import Saved

Predict: TypeAlias = Callable[[Any], NDArray[Any]]
"""From observations as the library takes them, an array or a dictionary of arrays, to actions."""
LIBRARIES = {"qr-dqn": "sb3_contrib"}
"""Packages of the algorithms that stable-baselines3 itself lacks."""
SB3 = "stable_baselines3"


def real_predict(saved: Saved, space: gym.Space[Any], *, is_scaled: bool) -> tuple[Predict, str] | None:
    """Find the library's `predict(deterministic=True)` for observations of `space`, and its name.

    None where the library is not installed, or is one that does not load these weights.
    """
    package = LIBRARIES.get(saved.kind.algorithms[0], SB3)
    if importlib.util.find_spec(package) is None:
        return None
    policy = _build(saved, space, is_scaled=is_scaled)
    acting = (*saved.kind.extractors, *saved.kind.networks)
    weights = {name: tensor for name, tensor in saved.state.items() if name.startswith(acting)}
    missing, unexpected = policy.load_state_dict(weights, strict=False)  # critics do not act
    if unexpected or any(name.startswith(acting) for name in missing):
        return None

    def predict(observations: Any) -> NDArray[Any]:
        actions, _ = policy.predict(observations, deterministic=True)
        return np.asarray(actions)

    distribution = package.replace("_", "-")
    return predict, f"{distribution} {installed_version(distribution)}'s predict"


def _build(saved: Saved, space: gym.Space[Any], *, is_scaled: bool) -> Any:
    """Policy object of the library, with weights of its own yet."""
    kwargs: dict[str, Any] = {"activation_fn": saved.activation, "normalize_images": is_scaled}
    if isinstance(space, Dict):
        from stable_baselines3.common.torch_layers import CombinedExtractor

        kwargs["features_extractor_class"] = CombinedExtractor
    if prefix := saved.extractor():
        from stable_baselines3.common.torch_layers import NatureCNN

        dim = int(saved.state[f"{prefix}linear.0.weight"].shape[0])
        kwargs |= {"features_extractor_class": NatureCNN, "features_extractor_kwargs": {"features_dim": dim}}
        if not kwargs["normalize_images"]:
            kwargs["features_extractor_kwargs"]["normalized_image"] = True
    return _BUILDERS[saved.kind.algorithms[0]](saved, (space, saved.action_space, lambda _: 0.0), kwargs)


def _value_network(saved: Saved, where: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from stable_baselines3.dqn.policies import DQNPolicy

    return DQNPolicy(*where, net_arch=saved.widths(saved.kind.networks[0])[:-1], **kwargs)


def _quantile_network(saved: Saved, where: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from sb3_contrib.qrdqn.policies import QRDQNPolicy

    widths = saved.widths(saved.kind.networks[0])
    quantiles = widths[-1] // int(saved.action_space.n)  # type: ignore[attr-defined]
    return QRDQNPolicy(*where, net_arch=widths[:-1], n_quantiles=quantiles, **kwargs)


def _squashed_actor(saved: Saved, where: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from stable_baselines3.sac.policies import SACPolicy

    sde = {"use_sde": "actor.log_std" in saved.state}
    if "clip_mean" in saved.stated.policy_kwargs:
        sde["clip_mean"] = saved.stated.policy_kwargs["clip_mean"]
    return SACPolicy(*where, net_arch={"pi": saved.widths("actor.latent_pi."), "qf": [1]}, **sde, **kwargs)


def _deterministic_actor(saved: Saved, where: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from stable_baselines3.td3.policies import TD3Policy

    return TD3Policy(*where, net_arch={"pi": saved.widths("actor.mu.")[:-1], "qf": [1]}, **kwargs)


def _actor_critic(saved: Saved, where: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from stable_baselines3.common.policies import ActorCriticPolicy

    arch = {"pi": saved.widths("mlp_extractor.policy_net."), "vf": saved.widths("mlp_extractor.value_net.")}
    log_std = saved.state.get("log_std")
    is_sde = log_std is not None and log_std.ndim == 2  # noqa: PLR2004 - (latent, k) where noise depends on the state
    full_std = log_std is None or log_std.shape[-1] == prod(saved.action_space.shape or ())
    share = bool(saved.stated.policy_kwargs.get("share_features_extractor", True))
    return ActorCriticPolicy(
        *where,
        net_arch=arch,
        use_sde=is_sde,
        full_std=full_std,
        squash_output=saved.is_squashed,
        share_features_extractor=share,
        **kwargs,
    )


_BUILDERS = {
    "dqn": _value_network,
    "qr-dqn": _quantile_network,
    "sac": _squashed_actor,
    "td3": _deterministic_actor,
    "ppo": _actor_critic,
}
