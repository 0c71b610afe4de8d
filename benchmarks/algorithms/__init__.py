"""Algorithms with nothing but their defaults, on environments that nobody tuned for, beside stable-baselines3's."""
