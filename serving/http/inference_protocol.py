"""The Open Inference Protocol v2 over HTTP, as Triton's and KServe's clients speak it, under /v2."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from google.protobuf.message import Message

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.protos.polserve.oip.v2.model_config_pb2 import ModelConfig
from polserve.serving.access.callers import Role
from polserve.serving.calls import Calls
from polserve.serving.handlers.oip.plain import as_plain
from polserve.serving.http.aside import Aside
from polserve.serving.http.infer_messages import LENGTH_HEADER, InferQuestion, answer_infer, read_infer
from polserve.serving.http.messages import Answer
from polserve.serving.http.requests import Request
from polserve.serving.http.routes import Route
from polserve.serving.http.schemas import FLAG, INFER_ANSWER, INFER_REQUEST, TEXT, Operation, answer_schema, array, obj
from polserve.serving.http.strict_json import MAX_JSON_BYTES, dump

SERVICE = "/inference.GRPCInferenceService"
MODEL = "/v2/models/{name}"
VERSION = f"{MODEL}/versions/{{version}}"

REFUSED = {
    "/v2/repository/models/{name}/load": "RepositoryModelLoad",
    "/v2/repository/models/{name}/unload": "RepositoryModelUnload",
    "/v2/systemsharedmemory/status": "SystemSharedMemoryStatus",
    "/v2/systemsharedmemory/region/{region}/register": "SystemSharedMemoryRegister",
    "/v2/systemsharedmemory/unregister": "SystemSharedMemoryUnregister",
    "/v2/cudasharedmemory/status": "CudaSharedMemoryStatus",
    "/v2/cudasharedmemory/region/{region}/register": "CudaSharedMemoryRegister",
    "/v2/cudasharedmemory/unregister": "CudaSharedMemoryUnregister",
    "/v2/trace/setting": "TraceSetting",
    "/v2/logging": "LogSettings",
}
"""Paths of Triton's that are answered with the reason why they are not offered, and the method that knows it."""

LIVES = Operation(obj({"live": FLAG}, "live"))
READY = Operation(obj({"ready": FLAG}, "ready"), others=(503,))
SERVER = Operation(answer_schema(pb.ServerMetadataResponse))
INDEX = Operation(array(answer_schema(pb.RepositoryIndexResponse.ModelIndex)))
METADATA = Operation(answer_schema(pb.ModelMetadataResponse))
MODEL_READY = Operation(obj({"name": TEXT, "ready": FLAG}, "name", "ready"), others=(404,))
CONFIG = Operation(answer_schema(ModelConfig))
STATISTICS = Operation(answer_schema(pb.ModelStatisticsResponse))
INFER = Operation(
    INFER_ANSWER,
    INFER_REQUEST,
    {"inputs": [{"name": "observation", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0.1, 0.5]}]},
)


def protocol_routes(calls: Calls, max_body_bytes: int) -> list[Route]:
    """Make the routes under /v2, which `calls` answers; a body with binary tensors may be so large."""
    models = Models(calls, max_body_bytes)
    routes = _about_service(models)
    for base in (MODEL, VERSION):
        routes += _about_model(models, base)
    for path, method in REFUSED.items():
        refuse = models.refuse(method)
        routes.append(Route("POST", path, refuse, "not offered"))
        if not path.endswith(("load", "register")):
            routes.append(Route("GET", path, refuse, "not offered"))
    return routes


def _about_service(models: "Models") -> list[Route]:
    described = (
        ("/v2/health/live", models.live, "whether the service lives", LIVES),
        ("/v2/health/ready", models.ready, "whether the service is ready", READY),
        ("/v2", models.server, "what the service is, with its extensions of the protocol", SERVER),
        ("/v2/models/stats", models.statistics, "counts and times of every model", STATISTICS),
    )
    health = "/v2/health/"
    routes = [
        Route("GET", path, endpoint, summary, Role.NONE if path.startswith(health) else Role.OBSERVE, operation)
        for path, endpoint, summary, operation in described
    ]
    return [*routes, Route("POST", "/v2/repository/index", models.index, "every live version", Role.OBSERVE, INDEX)]


def _about_model(models: "Models", base: str) -> list[Route]:
    described = (
        ("", models.metadata, "inputs and outputs of a model", METADATA),
        ("/ready", models.model_ready, "whether a model is live", MODEL_READY),
        ("/config", models.config, "configuration of a model, as Triton's clients read it", CONFIG),
        ("/stats", models.statistics, "counts and times of a model", STATISTICS),
    )
    routes = [
        Route("GET", base + path, endpoint, summary, Role.OBSERVE, operation)
        for path, endpoint, summary, operation in described
    ]
    infer = Route("POST", f"{base}/infer", models.infer, "outputs of a model for inputs", Role.OBSERVE, INFER)
    return [infer, *routes]


class Models:
    """The endpoints under /v2."""

    def __init__(self, calls: Calls, max_body_bytes: int) -> None:
        self._calls = calls
        self._max_body_bytes = max_body_bytes
        self._aside = Aside()

    async def live(self, _request: Request) -> Answer:
        """Answer that the process lives."""
        return Answer(dump({"live": True}))

    async def ready(self, request: Request) -> Answer:
        """Answer whether the service is ready, by the status too."""
        said = await self._ask(request, "ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)
        return Answer(dump(said), status=HTTPStatus.OK if said["ready"] else HTTPStatus.SERVICE_UNAVAILABLE)

    async def server(self, request: Request) -> Answer:
        """Answer with what the service is."""
        said = await self._ask(request, "ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
        # NOTE: a service of several processes keeps no sequences over HTTP, so that none are promised.
        extensions = [name for name in said["extensions"] if not name.startswith("sequence")]
        return Answer(dump({**said, "extensions": [*extensions, "binary_tensor_data"]}))

    async def index(self, request: Request) -> Answer:
        """Answer with every live version."""
        await request.body(MAX_JSON_BYTES)
        said = await self._ask(request, "RepositoryIndex", pb.RepositoryIndexRequest(), pb.RepositoryIndexResponse)
        return Answer(dump(said["models"]))

    async def metadata(self, request: Request) -> Answer:
        """Answer with inputs and outputs of a model."""
        asked = pb.ModelMetadataRequest(**_named(request))
        return Answer(dump(await self._ask(request, "ModelMetadata", asked, pb.ModelMetadataResponse)))

    async def model_ready(self, request: Request) -> Answer:
        """Answer whether a model is live, by the status too."""
        named = _named(request)
        said = await self._ask(request, "ModelReady", pb.ModelReadyRequest(**named), pb.ModelReadyResponse)
        status = HTTPStatus.OK if said["ready"] else HTTPStatus.NOT_FOUND
        return Answer(dump({"name": named["name"], **said}), status=status)

    async def config(self, request: Request) -> Answer:
        """Answer with the configuration of a model."""
        asked = pb.ModelConfigRequest(**_named(request))
        said = await self._ask(request, "ModelConfig", asked, pb.ModelConfigResponse)
        return Answer(dump(said["config"]))

    async def statistics(self, request: Request) -> Answer:
        """Answer with counts and times of a model, or of all."""
        asked = pb.ModelStatisticsRequest(**_named(request))
        return Answer(dump(await self._ask(request, "ModelStatistics", asked, pb.ModelStatisticsResponse)))

    async def infer(self, request: Request) -> Answer:
        """Answer with the outputs of a model."""
        json_length = request.header(LENGTH_HEADER)
        body = await request.body(MAX_JSON_BYTES if json_length is None else self._max_body_bytes)
        named = _named(request)

        def read() -> tuple[bytes, InferQuestion]:
            question = read_infer(named["name"], named.get("version", ""), body, json_length)
            return question.message.SerializeToString(), question

        message, question = await self._aside.run(len(body), read)
        response = await self._calls.ask(f"{SERVICE}/ModelInfer", message, request.asker)
        return await self._aside.run(len(response), lambda: answer_infer(response, question))

    def refuse(self, method: str) -> Callable[[Request], Awaitable[Answer]]:
        """Make what passes on why a method is not offered."""

        async def answer(request: Request) -> Answer:
            return Answer(await self._calls.ask(f"{SERVICE}/{method}", b"", request.asker))

        return answer

    async def _ask(self, request: Request, method: str, asked: Message, kind: type[Message]) -> dict[str, Any]:
        response = await self._calls.ask(f"{SERVICE}/{method}", asked.SerializeToString(), request.asker)
        return as_plain(kind.FromString(response))


def _named(request: Request) -> dict[str, str]:
    """Return the model that the path names, and the version where it names one."""
    return dict(request.parameters)
