"""The environments by id: importing this module registers them, as Gymnasium's users expect of a module."""

import gymnasium as gym

from polserve.training.tasks.adbudget.environment import ALLOCATION_ID, PLAIN_ID

_MODULE = "polserve.training.tasks.adbudget.environment"

if ALLOCATION_ID not in gym.registry:
    gym.register(ALLOCATION_ID, entry_point=f"{_MODULE}:AllocationEnv", vector_entry_point=f"{_MODULE}:AllocationVec")
    gym.register(PLAIN_ID, entry_point=f"{_MODULE}:AdBudgetEnv")
