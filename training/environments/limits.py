"""Limits that commands state without paying for what enforces them."""

EVALUATION_EPISODES = 100
"""Episodes of an evaluation, unless another number is asked for."""
EVALUATION_ENVS = 100
"""The most environments that an evaluation steps together, unless another number is asked for."""
MATCH_ENVS = 6
"""The same in each process of a promotion: few, since the first to end waits for the last."""
MAX_EVALUATION_STEPS = 27_000
"""Steps of an episode that nothing is learned from: half an hour of an Atari game (Machado et al. 2018)."""
EPISODES_GO_ON = "no max_episode_steps is registered"
LAST_SEED = 2**31 - 1
"""The largest seed that Gymnasium and the Arcade Learning Environment both take."""
