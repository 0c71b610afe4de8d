"""Eight games of CartPole at once, over one stream: `python vector_environment.py [TARGET]`."""

import sys

import gymnasium as gym

from polserve import PolicyClient

environments = gym.make_vec("CartPole-v1", num_envs=8)
with PolicyClient(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051") as client:
    with client.episodes("cartpole", environments.num_envs) as episodes:
        for answer in episodes.play(environments, steps=600, seed=0):
            pass  # the actions of a step, one for each environment
returns = [ended.episode_return for ended in episodes.ended]
print(f"cartpole/{answer.version}: {len(returns)} games, mean return {sum(returns) / len(returns):g}")
