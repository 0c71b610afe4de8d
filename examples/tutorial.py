"""Train, promote and serve a policy of your own: `python examples/tutorial.py`.

`examples/tutorial.ipynb` is the same as a notebook: `jupytext --to ipynb examples/tutorial.py` makes it.
"""

# %% [markdown]
# # Train, promote and serve a policy of your own
#
# You write an environment, train a policy in it, look at what the policy does, put it into a registry, serve it, and
# replace it by a better one. That takes about two minutes on two cores, and needs `pip install 'polserve[training]'`.
# Everything is written to a temporary folder.

# %% [markdown]
# ## 1. An environment
#
# A water tank leaks, and a valve fills it. The policy closes or opens the valve, and is paid for keeping the level near
# the middle. polserve asks for nothing but Gymnasium's interface; the entries in `metadata` give names to what goes in
# and what comes out.

# %%
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

import polserve


class Tank(gym.Env):
    """Keep the level of a leaking tank at one half."""

    metadata = {
        "render_modes": [],
        "observation_components": [["level", "of the height"], ["inflow", "of the height a step"]],
        "action_labels": ["close", "hold", "open"],
    }
    observation_space = Box(0.0, 1.0, (2,), np.float32)
    action_space = Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level, self.inflow = self.np_random.uniform(0.1, 0.9), 0.0
        return self._observe(), {}

    def step(self, action):
        self.inflow = float(np.clip(self.inflow + 0.01 * (int(action) - 1), 0.0, 0.1))
        self.level = float(np.clip(self.level + self.inflow - 0.05 * self.level, 0.0, 1.0))
        return self._observe(), -abs(self.level - 0.5), False, False, {}

    def _observe(self):
        return np.array([self.level, self.inflow], np.float32)


def tank():
    """Make a tank whose episodes last a hundred steps."""
    return gym.wrappers.TimeLimit(Tank(), max_episode_steps=100)


# %% [markdown]
# ## 2. Train
#
# `polserve.train` takes a preset, the id of a Gymnasium environment, or a function that makes one.
# Stop early on purpose, so that there is something to improve on.

# %%
folder = Path(tempfile.mkdtemp(prefix="polserve-tutorial-"))
tracking_uri = f"sqlite:///{folder / 'mlflow.db'}"
options = {"evaluate_every": 1_000, "evaluation_episodes": 40, "selection_episodes": 10}

first = polserve.train(
    tank, algo="dqn", steps=1_000, name="tank", options=options, folder=folder / "first", tracking_uri=tracking_uri
)
print(first)
print(f"mean return {first.evaluation.mean:.1f}; of random actions {first.evaluation.random_summary.mean:.1f}")

# %% [markdown]
# The version is one ONNX graph with its spec inside. It answers here, in this process, just as it will in the service.

# %%
print([component.name for component in first.spec.observation.components])
print(polserve.load(first).act([0.2, 0.0]).action, "for a tank that is nearly empty (0 closes, 1 holds, 2 opens)")

# %% [markdown]
# ## 3. Register
#
# The registry is an MLflow server; here, a file will do. The first version becomes `@champion` by itself.

# %%
print("registered version", first.register())

# %% [markdown]
# ## 4. A better one
#
# Train for longer, register, and ask for the promotion. Both versions play the same games, on seeds that neither has
# seen; the alias moves only if the games show that the candidate is better. Where they do not, `PromotionRefused` says
# why, and nothing has changed.

# %%
second = polserve.train(
    tank, algo="dqn", steps=8_000, name="tank", options=options, folder=folder / "second", tracking_uri=tracking_uri
)
print("registered version", second.register())
print(polserve.promote("tank/2", env=tank, episodes=60, tracking_uri=tracking_uri))

# %% [markdown]
# `polserve.rollback("tank")` takes it back. `polserve.evaluate` plays any version beside random actions.

# %%
print(polserve.evaluate("tank@champion", env=tank, episodes=20, tracking_uri=tracking_uri).interval)
print(polserve.rollback("tank", tracking_uri=tracking_uri))

# %% [markdown]
# ## 5. Serve it and play
#
# In production, `polserve serve` follows the registry. `polserve.testing.service` starts the same program on a free port
# for as long as a test, or this tutorial, needs it.

# %%
with polserve.testing.service(policies=second.path.parents[1]) as target, polserve.PolicyClient(target) as client:
    print(client.policies())
    env = tank()
    observation, _ = env.reset(seed=7)
    with client.episode("tank") as episode:  # one version from the first step to the last
        action, total, is_over = episode.act(observation).action, 0.0, False
        while not is_over:
            observation, reward, _, is_over, _ = env.step(action)
            total += reward
            if not is_over:
                action = episode.act(observation, reward=reward).action
        episode.end(reward=reward)
print(f"return {total:.1f}")

# %% [markdown]
# ## Where to go from here
#
# - [Your own environment](../docs/own-environment.md): wrappers, images, episodes without end.
# - [Promoting and rolling back](../docs/promotion.md): how the decision is made, and how often it errs.
# - [Running the service](../docs/running.md): processes, load, stopping.
# - [Python](../docs/python.md): every function, its arguments and what it raises.
