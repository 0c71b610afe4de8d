"""Policies of stable-baselines3 and sb3-contrib, read from the .zip of `model.save()`; nothing is unpickled."""
