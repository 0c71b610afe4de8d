"""Settings of runs that end within seconds."""

SMALL = {
    "n_envs": 4,
    "evaluation_episodes": 4,
    "selection_episodes": 2,
    "learning_starts": 64,
    "replay_capacity": 4_000,
    "max_evaluation_steps": 50,
}
"""What makes a run of an algorithm in CartPole so small."""
