"""One game of CartPole: `python game_loop.py [TARGET]`. The service keeps the version, and counts the return."""

import sys

import gymnasium as gym

from polserve import PolicyClient

environment = gym.make("CartPole-v1")
with PolicyClient(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051") as client:
    with client.episode("cartpole") as episode:
        observation, _ = environment.reset(seed=0)
        reward, is_over = None, False
        while not is_over:
            answer = episode.act(observation, reward=reward)
            observation, reward, terminated, truncated, _ = environment.step(answer.action)
            is_over = terminated or truncated
        earned = episode.end(reward=reward, truncated=truncated)
print(f"cartpole/{answer.version}: return {earned:g}")
