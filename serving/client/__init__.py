"""The Python client, synchronous and asyncio: numpy arrays in and out.

`PolicyClient` for programs with threads, `AsyncPolicyClient` for asyncio. Every call has a deadline. All calls but
episodes change nothing, so they are tried again while the service is unavailable or full. Applications import these
names from `polserve`.
"""

from polserve.serving.client.aio import AsyncEpisode, AsyncPolicyClient
from polserve.serving.client.async_slots import AsyncEpisodes
from polserve.serving.client.budget import BudgetDay, Split
from polserve.serving.client.credentials import Credentials
from polserve.serving.client.errors import ClientError, InvalidArgument
from polserve.serving.client.live import (
    Allocator,
    EvaluationSummary,
    LivePolicy,
    LiveVersion,
)
from polserve.serving.client.messages import Action
from polserve.serving.client.naming import request_id
from polserve.serving.client.slots import EndedEpisode, Episodes
from polserve.serving.client.spaces import ActionSpace, ObservationPart, ObservationSpace
from polserve.serving.client.sync import Episode, PolicyClient

__all__ = [
    "Action",
    "ActionSpace",
    "Allocator",
    "AsyncEpisode",
    "AsyncEpisodes",
    "AsyncPolicyClient",
    "BudgetDay",
    "ClientError",
    "Credentials",
    "EndedEpisode",
    "Episode",
    "Episodes",
    "EvaluationSummary",
    "InvalidArgument",
    "LivePolicy",
    "LiveVersion",
    "ObservationPart",
    "ObservationSpace",
    "PolicyClient",
    "Split",
    "request_id",
]
