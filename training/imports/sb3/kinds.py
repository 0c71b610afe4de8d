"""The kinds of policies that stable-baselines3 and sb3-contrib save, told by the names of their weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from polserve.training.errors import ImportRefused, InvalidOption
from polserve.training.imports.sb3.stated import Stated

RECURRENT = "lstm_actor."
OWN_MODULES = ("stable_baselines3.", "sb3_contrib.")


@dataclass(frozen=True, slots=True)
class Kind:
    """A layout of weights that several algorithms share."""

    name: str
    mark: str
    """Beginning of the names of weights that only this kind has."""
    extractors: tuple[str, ...]
    """Where the weights of the features extractor that acts may be, the one that counts first."""
    networks: tuple[str, ...]
    """Where the weights of the layers after it are, in their order; those without a dot are one layer."""
    activation: str
    """The activation where the file states none."""
    algorithms: tuple[str, ...]
    is_discrete: bool | None
    """Whether actions are discrete; None for either."""


KINDS = (
    Kind("a value network", "q_net.q_net.", ("q_net.features_extractor.",), ("q_net.q_net.",), "relu", ("dqn",), True),
    Kind(
        "a quantile network",
        "quantile_net.quantile_net.",
        ("quantile_net.features_extractor.",),
        ("quantile_net.quantile_net.",),
        "relu",
        ("qr-dqn",),
        True,
    ),
    Kind(
        "a squashed Gaussian actor",
        "actor.log_std",
        ("actor.features_extractor.",),
        ("actor.latent_pi.", "actor.mu."),
        "relu",
        ("sac", "tqc"),
        False,
    ),
    Kind(
        "a deterministic actor",
        "actor.mu.",
        ("actor.features_extractor.",),
        ("actor.mu.",),
        "relu",
        ("td3", "ddpg"),
        False,
    ),
    Kind(
        "a recurrent actor-critic policy",
        RECURRENT,
        ("pi_features_extractor.", "features_extractor."),
        ("mlp_extractor.shared_net.", "mlp_extractor.policy_net.", "action_net."),
        "tanh",
        ("recurrent-ppo",),
        None,
    ),
    Kind(
        "an actor-critic policy",
        "action_net.",
        ("pi_features_extractor.", "features_extractor."),
        ("mlp_extractor.shared_net.", "mlp_extractor.policy_net.", "action_net."),
        "tanh",
        ("ppo", "a2c", "trpo"),
        None,
    ),
)
"""Those whose mark another kind may have too come after it."""
NAMES = {"dqn": "DQN", "qr-dqn": "QR-DQN", "ddpg": "DDPG", "td3": "TD3", "sac": "SAC", "tqc": "TQC", "ppo": "PPO",
         "a2c": "A2C", "trpo": "TRPO", "recurrent-ppo": "RecurrentPPO"}  # fmt: skip
"""Algorithms as the library names them."""


def kind_of(stated: Stated, state: Mapping[str, Tensor]) -> Kind:
    """Kind of the policy, told by its weights.

    Raises:
        ImportRefused: it is none that is known.
    """
    if "maskable" in stated.policy_module:
        raise ImportRefused(
            f"{stated.file}: expected a policy that chooses among all actions, got a maskable one, which needs a mask "
            "with every observation; it is not imported"
        )
    for kind in KINDS:
        if any(name.startswith(kind.mark) for name in state):
            return kind
    few = ", ".join(sorted({name.split(".")[0] for name in state})[:8]) or "none"
    raise ImportRefused(
        f"{stated.file}: policy.pth: expected the weights of {', '.join(NAMES.values())}; got weights named {few}.*; "
        "export a network of your own with polserve.export(module, ...)"
    )


def algorithm_of(stated: Stated, kind: Kind, asked: str) -> str:
    """Algorithm as the spec names it: the one asked for, else the one that the file's settings tell.

    Raises:
        InvalidOption: the one asked for has other weights.
        ImportRefused: the file does not tell.
    """
    if asked:
        algorithm = asked.lower().replace("qrdqn", "qr-dqn")
        if algorithm not in kind.algorithms:
            raise InvalidOption(
                f"--algorithm: expected {' or '.join(kind.algorithms)}, since {stated.file} holds {kind.name}; got "
                f"{asked!r}"
            )
        return algorithm
    if len(kind.algorithms) == 1:
        return kind.algorithms[0]
    content = stated.content
    told: Sequence[tuple[str, bool]] = (
        ("tqc", "tqc" in stated.policy_module or "top_quantiles_to_drop_per_net" in content),
        ("sac", "target_entropy" in content),
        ("ddpg", content.get("policy_delay") == 1 and content.get("target_noise_clip") == 0),
        ("td3", "policy_delay" in content),
        ("ppo", "clip_range" in content),
        ("trpo", "cg_max_steps" in content),
        ("a2c", "gae_lambda" in content),
    )
    for algorithm, is_told in told:
        if is_told and algorithm in kind.algorithms:
            return algorithm
    raise ImportRefused(
        f"{stated.file}: its settings do not tell the algorithm of {kind.name}; give --algorithm "
        f"{' or '.join(kind.algorithms)}"
    )
