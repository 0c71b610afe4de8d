"""Offline: environments, agents, training, evaluation, export and registration of policy versions."""
