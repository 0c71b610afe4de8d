"""Every method that the service answers, with its handler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from polserve.protos.polserve.v1 import budget_pb2, policy_pb2
from polserve.serving.access.callers import Role
from polserve.serving.catalog import Catalog
from polserve.serving.episodes import EpisodeCounter, OpenStreams
from polserve.serving.handlers import health as health_service
from polserve.serving.handlers import reflection
from polserve.serving.handlers.act import ActHandler
from polserve.serving.handlers.budget import AllocateHandler
from polserve.serving.handlers.episode import EpisodeHandler
from polserve.serving.handlers.health import Health, Watch, check, list_all
from polserve.serving.handlers.listing import get_policy, list_policies
from polserve.serving.handlers.oip import service as oip
from polserve.serving.handlers.oip.names import public_files
from polserve.serving.handlers.oip.service import ModelLimits, StatisticsOf
from polserve.serving.handlers.reflection import Reflection
from polserve.serving.inference.inference import Inference, Post
from polserve.serving.methods import CallCounter, Kind, Method

POLICY_SERVICE = policy_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name
BUDGET_SERVICE = budget_pb2.DESCRIPTOR.services_by_name["BudgetService"].full_name
SERVICES = (POLICY_SERVICE, BUDGET_SERVICE, oip.SERVICE, health_service.SERVICE, reflection.SERVICE)

NEEDS: Mapping[str, Role] = {
    **dict.fromkeys(("Check", "List", "Watch", "ServerLive", "ServerReady", "ModelReady"), Role.NONE),
    **dict.fromkeys(("ListPolicies", "GetPolicy", "RepositoryIndex"), Role.OBSERVE),
    **dict.fromkeys(("ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics"), Role.OBSERVE),
}
"""Role that callers of a method must have; those that are not named need `Role.ACT`."""

CounterOf = Callable[[Kind, str, str], CallCounter]
"""The counter of a method, by its kind, service and name."""


@dataclass(frozen=True, slots=True)
class MethodParts:
    """What the handlers work with."""

    catalog: Catalog
    inference: Inference
    streams: OpenStreams
    health: Health
    episodes: EpisodeCounter
    post: Post
    statistics: StatisticsOf
    limits: ModelLimits
    reflection_needs: Role | None = Role.OBSERVE
    """Role that reflection needs; None where it is not offered."""


def make_methods(parts: MethodParts, counter_of: CounterOf) -> list[Method]:
    """Make the methods of all services."""
    catalog, inference = parts.catalog, parts.inference
    models = oip.ModelParts(catalog, inference, parts.health, parts.statistics, parts.limits, parts.post)
    sequences = oip.SequenceParts(parts.streams, parts.episodes)
    handlers = (
        (POLICY_SERVICE, "Act", "unary", ActHandler(catalog, inference, parts.post)),
        (POLICY_SERVICE, "Episode", "bidi_stream", EpisodeHandler(catalog, inference, parts.streams, parts.episodes)),
        (POLICY_SERVICE, "ListPolicies", "unary", list_policies(catalog)),
        (POLICY_SERVICE, "GetPolicy", "unary", get_policy(catalog)),
        (BUDGET_SERVICE, "Allocate", "unary", AllocateHandler(catalog, inference)),
        (health_service.SERVICE, "Check", "unary", check(parts.health)),
        (health_service.SERVICE, "List", "unary", list_all(parts.health)),
        (health_service.SERVICE, "Watch", "server_stream", Watch(parts.health, parts.streams)),
        *((oip.SERVICE, *method) for method in oip.make_oip_methods(models, sequences)),
        (
            reflection.SERVICE,
            "ServerReflectionInfo",
            "bidi_stream",
            Reflection(SERVICES, public_files(), parts.streams),
        ),
    )
    needs = {**NEEDS, "ServerReflectionInfo": parts.reflection_needs}
    return [
        Method(service, name, kind, handler, counter_of(kind, service, name), needs.get(name, Role.ACT))  # type: ignore[arg-type]
        for service, name, kind, handler in handlers
        if service != reflection.SERVICE or parts.reflection_needs is not None
    ]
