"""The Python client, synchronous and asyncio: numpy arrays in and out.

`PolicyClient` for programs with threads, `AsyncPolicyClient` for asyncio. Every call has a deadline. Act, ListPolicies
and GetPolicy change nothing, so they are tried again while the service is unavailable or full; episodes never are.
"""

from serving.client.aio import AsyncEpisode, AsyncPolicyClient
from serving.client.messages import Action, ClientError
from serving.client.sync import Episode, PolicyClient

__all__ = ["Action", "AsyncEpisode", "AsyncPolicyClient", "ClientError", "Episode", "PolicyClient"]
