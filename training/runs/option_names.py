"""What was meant by the name of a hyper-parameter that there is none of."""

import difflib
from collections.abc import Collection

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "lr": ("learning_rate", "actor_learning_rate", "critic_learning_rate"),
    "learning_rate": ("actor_learning_rate", "critic_learning_rate"),
    "gamma": ("discount",),
    "tau": ("target_tau",),
    "gae_lambda": ("trace_decay",),
    "buffer_size": ("replay_capacity",),
    "memory_size": ("replay_capacity",),
    "batch": ("batch_size",),
    "total_timesteps": ("steps",),
    "timesteps": ("steps",),
    "n_steps": ("n_step", "rollout_steps"),
    "num_envs": ("n_envs",),
    "gradient_steps": ("updates_per_vector_step",),
    "train_freq": ("updates_per_vector_step",),
    "target_update_interval": ("target_period",),
    "net_arch": ("hidden_sizes",),
    "layers": ("hidden_sizes",),
    "epsilon": ("epsilon_start", "epsilon_end", "epsilon_steps"),
    "exploration_fraction": ("epsilon_steps",),
    "exploration_final_eps": ("epsilon_end",),
    "ent_coef": ("temperature",),
    "alpha": ("temperature",),
    "action_noise": ("noise_start", "noise_end"),
    "frame_stack": ("frames",),
    "normalize": ("standardise",),
    "standardize": ("standardise",),
}
"""Names that other tools have for ours."""


def unknown_option(name: str, known: Collection[str]) -> str:
    """Say that no hyper-parameter among the `known` has that name, and which were likely meant."""
    meant = [ours for ours in OTHER_NAMES.get(name.lower(), ()) if ours in known]
    meant = meant or difflib.get_close_matches(name.lower(), sorted(known), n=3, cutoff=0.6)
    question = f"; did you mean {' or '.join(meant)}?" if meant else ";"
    return f"expected a hyper-parameter of this algorithm, got {name!r}{question} `polserve train --list` has the names"
