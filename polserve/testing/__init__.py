"""For the tests of applications: a client that your own functions answer, and a real service for as long as a test.

client = polserve.testing.client({"cartpole": lambda observation: int(observation[2] > 0)})

with polserve.testing.service() as target, PolicyClient(target) as client:
    ...
"""

from polserve.testing.in_memory import PolicyFunction, async_client, client
from polserve.testing.running import service

__all__ = ["PolicyFunction", "async_client", "client", "service"]
