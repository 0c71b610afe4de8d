"""The Python client, synchronous and asyncio: numpy arrays in and out.

`PolicyClient` for programs with threads, `AsyncPolicyClient` for asyncio. Every call has a deadline. All calls but
episodes change nothing, so they are tried again while the service is unavailable or full.
"""

from polserve.serving.client.aio import AsyncEpisode, AsyncPolicyClient
from polserve.serving.client.budget import BudgetDay, Split
from polserve.serving.client.channel import ClientError
from polserve.serving.client.messages import Action
from polserve.serving.client.sync import Episode, PolicyClient

__all__ = [
    "Action",
    "AsyncEpisode",
    "AsyncPolicyClient",
    "BudgetDay",
    "ClientError",
    "Episode",
    "PolicyClient",
    "Split",
]
