"""inference.GRPCInferenceService: every method of it, with what answers it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.access.callers import Caller
from polserve.serving.catalog import Catalog
from polserve.serving.episodes import EpisodeCounter, OpenStreams
from polserve.serving.errors import NotReady, UnknownPolicy, UnknownVersion, Unsupported
from polserve.serving.handlers.base import Each, Quiet
from polserve.serving.handlers.health import Health
from polserve.serving.handlers.oip.dialect import InferDialect
from polserve.serving.handlers.oip.infer import InferHandler, find_entry, resolver
from polserve.serving.handlers.oip.models import (
    config_of,
    describe_model,
    index_of,
    live_versions,
    metadata_of,
    server_metadata,
)
from polserve.serving.handlers.oip.playing import SequencePlayer
from polserve.serving.handlers.oip.statistics import statistics_of
from polserve.serving.handlers.oip.stream import StreamInferHandler
from polserve.serving.inference.inference import Inference, Post
from polserve.serving.methods import Call, Handler, Kind
from polserve.serving.metrics.answers import RunStatistics
from polserve.serving.policy import Policy

SERVICE = "inference.GRPCInferenceService"

REGISTRY = "the registry is the switch: move an alias with `polserve promote`, and every service follows"
SHARED_MEMORY = "shared memory is not offered; send tensors in the message"
ELSEWHERE = "the settings of the service are its flags and variables, and its metrics are at /metrics"
REFUSED = {
    "RepositoryModelLoad": f"no model is loaded by a call; {REGISTRY}",
    "RepositoryModelUnload": f"no model is unloaded by a call; {REGISTRY}",
    **{
        f"{kind}SharedMemory{act}": SHARED_MEMORY
        for kind in ("System", "Cuda")
        for act in ("Status", "Register", "Unregister")
    },
    "TraceSetting": f"traces are not kept; {ELSEWHERE}",
    "LogSettings": f"logging is not changed by a call; {ELSEWHERE}",
}
"""Methods that answer UNIMPLEMENTED, and why."""

StatisticsOf: TypeAlias = Callable[[Policy], RunStatistics]
OipMethod: TypeAlias = tuple[str, Kind, Handler]


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What the configuration of a model says of the service."""

    max_batch: int
    """Observations that go to a model together."""
    idle_s: float
    """Seconds after which a sequence without requests ends."""


@dataclass(frozen=True, slots=True)
class ModelParts:
    """What the methods of models work with."""

    catalog: Catalog
    inference: Inference
    health: Health
    statistics: StatisticsOf
    limits: ModelLimits
    post: Post


@dataclass(frozen=True, slots=True)
class SequenceParts:
    """What sequences work with."""

    streams: OpenStreams
    episodes: EpisodeCounter


class Refusing(Quiet):
    """Answers that a method is not offered, and why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def handle(self, calls: Sequence[Call]) -> None:
        """Refuse each call."""
        for call in calls:
            call.fail(Unsupported(self._reason))


def make_oip_methods(parts: ModelParts, sequences: SequenceParts) -> list[OipMethod]:
    """Make the methods of the service, each with its kind and what answers it."""
    resolve, inference, streams = resolver(parts.catalog), parts.inference, sequences.streams
    player = SequencePlayer(InferDialect(), resolve, sequences.episodes)
    infer = InferHandler(player, resolve, inference, streams, parts.post)
    stream = StreamInferHandler(infer, player, inference, streams)
    answers = (
        _server_live(),
        _server_ready(parts.health),
        _model_ready(parts.catalog),
        Each(pb.ServerMetadataRequest, lambda _request, _caller: server_metadata()),
        _model_metadata(parts.catalog),
        _model_config(parts.catalog, parts.limits),
        _model_statistics(parts.catalog, parts.statistics),
        Each(pb.RepositoryIndexRequest, lambda _request, caller: index_of(parts.catalog.live(caller.policies))),
    )
    names = (
        *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig"),
        *("ModelStatistics", "RepositoryIndex"),
    )
    return [
        *((name, "unary", answer) for name, answer in zip(names, answers, strict=True)),
        ("ModelInfer", "unary", infer),
        ("ModelStreamInfer", "bidi_stream", stream),
        *((name, "unary", Refusing(reason)) for name, reason in REFUSED.items()),
    ]


def _server_live() -> Each:
    return Each(pb.ServerLiveRequest, lambda _request, _caller: pb.ServerLiveResponse(live=True))


def _server_ready(health: Health) -> Each:
    return Each(pb.ServerReadyRequest, lambda _request, _caller: pb.ServerReadyResponse(ready=health.is_ready))


def _model_ready(catalog: Catalog) -> Each:
    def answer(request: pb.ModelReadyRequest, caller: Caller) -> pb.ModelReadyResponse:
        try:
            catalog.resolve(request.name, request.version, caller.policies)
        except (NotReady, UnknownPolicy, UnknownVersion):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    return Each(pb.ModelReadyRequest, answer)


def _model_metadata(catalog: Catalog) -> Each:
    resolve = resolver(catalog)

    def answer(request: pb.ModelMetadataRequest, caller: Caller) -> pb.ModelMetadataResponse:
        policy = resolve(request.name, request.version, caller.policies)
        return metadata_of(describe_model(catalog.policy(request.name, caller.policies), policy))

    return Each(pb.ModelMetadataRequest, answer)


def _model_config(catalog: Catalog, limits: ModelLimits) -> Each:
    resolve = resolver(catalog)

    def answer(request: pb.ModelConfigRequest, caller: Caller) -> pb.ModelConfigResponse:
        policy = resolve(request.name, request.version, caller.policies)
        model = describe_model(catalog.policy(request.name, caller.policies), policy)
        return pb.ModelConfigResponse(config=config_of(model, limits.max_batch, limits.idle_s))

    return Each(pb.ModelConfigRequest, answer)


def _model_statistics(catalog: Catalog, statistics: StatisticsOf) -> Each:
    resolve = resolver(catalog)

    def answer(request: pb.ModelStatisticsRequest, caller: Caller) -> pb.ModelStatisticsResponse:
        if request.version:
            policies = [resolve(request.name, request.version, caller.policies)]
        else:
            live = catalog.live(caller.policies)
            entries = (
                [find_entry(catalog, request.name, caller.policies)]
                if request.name
                else [live[name] for name in sorted(live)]
            )
            policies = [entry.versions[number] for entry in entries for number in live_versions(entry)]
        return pb.ModelStatisticsResponse(model_stats=[statistics_of(one, statistics(one)) for one in policies])

    return Each(pb.ModelStatisticsRequest, answer)
