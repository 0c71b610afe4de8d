"""Servers to compare with: `python -m benchmarks.rivals KIND` prints its port and serves until it is ended.

echo-*: answers an empty message, the floor of a way to serve; act-*: what one writes by hand around ONNX Runtime for
the bundled CartPole policy, without checks and metrics. *-threads and *-aio are grpcio's public servers; *-callback
answers in the callback of the receive operation, through an executor given to the public server. stream-aio answers
each message of an Episode with an empty one. uvicorn is what carries HTTP, alone; starlette
adds that framework.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
import numpy as np
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # private: no types

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.policy import Policy
from polserve.serving.settings.settings import BUNDLED_POLICIES

SERVICE = "polserve.v1.PolicyService"
OPTIONS = [("grpc.so_reuseport", 0)]

Answer = Callable[[bytes], bytes]


def echo(_message: bytes) -> bytes:
    """Nothing."""
    return b""


def make_act() -> Answer:
    """Make what answers an ActRequest with nothing but the model."""
    policy = Policy.load("cartpole", "1", BUNDLED_POLICIES / "cartpole" / "1")

    def act(message: bytes) -> bytes:
        request = pb.ActRequest.FromString(message)
        observation = np.frombuffer(request.observation.data, np.float32).reshape(-1, 4)
        actions = policy.act(observation).actions
        action = pb.Tensor(dtype=pb.INT64, shape=[], data=actions.tobytes())
        return pb.ActResponse(policy="cartpole", version="1", action=action).SerializeToString()

    return act


def serve_threads(answer: Answer) -> None:
    """Serve with grpc.server and 16 threads."""
    server = grpc.server(ThreadPoolExecutor(16), options=OPTIONS)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Act": grpc.unary_unary_rpc_method_handler(lambda message, _context: answer(message))
    }
    server.add_registered_method_handlers(SERVICE, handlers)
    _run(server)


def serve_callback(answer: Answer) -> None:
    """Serve with grpc.server and an executor that answers on the thread of the completion queue."""

    class Callback(ThreadPoolExecutor):
        def submit(self, _run: Any, _function: Any, event: Any, state: Any, *_rest: Any) -> Any:  # type: ignore[override]
            def receive(received: Any) -> Any:
                operations = (
                    cygrpc.SendInitialMetadataOperation(None, 0),
                    cygrpc.SendMessageOperation(answer(received.batch_operations[0].message()), 0),
                    cygrpc.SendStatusFromServerOperation(None, cygrpc.StatusCode.ok, b"", 0),
                )
                event.call.start_server_batch(operations, lambda _sent: (state, ()))
                return None, ()

            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), receive)

    def behaviour(_message: bytes, _context: grpc.ServicerContext) -> bytes:
        raise AssertionError

    behaviour.experimental_thread_pool = Callback(1)  # type: ignore[attr-defined]
    server = grpc.server(ThreadPoolExecutor(1), options=OPTIONS)
    server.add_registered_method_handlers(SERVICE, {"Act": grpc.unary_unary_rpc_method_handler(behaviour)})
    _run(server)


async def serve_aio(answer: Answer) -> None:
    """Serve with grpc.aio."""

    async def behaviour(message: bytes, _context: Any) -> bytes:
        return answer(message)

    server = grpc.aio.server(options=OPTIONS)

    async def stream(messages: Any, _context: Any) -> Any:
        async for _ in messages:
            yield b""

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Act": grpc.unary_unary_rpc_method_handler(behaviour),
        "Episode": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def make_bare() -> Any:
    """Make an application of plain ASGI that reads a body and answers it."""

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


def make_starlette() -> Any:
    """Make the same with Starlette's router, request and response."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    return Starlette(routes=[Route("/v1/policies/{name}:act", answer, methods=["POST"])])


def serve_http(application: Any) -> None:
    """Serve an application with uvicorn, httptools and uvloop."""
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        application, http="httptools", loop="uvloop", ws="none", lifespan="off", log_level="critical", access_log=False
    )
    uvicorn.Server(config).run(sockets=[listening])


def _run(server: grpc.Server) -> None:
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop(0)


def main() -> None:
    """Serve what the first argument names."""
    over_http = {"uvicorn": make_bare, "starlette": make_starlette}.get(sys.argv[1])
    if over_http is not None:
        serve_http(over_http())
        return
    what, how = sys.argv[1].split("-")
    answer = make_act() if what == "act" else echo
    if how == "aio":
        asyncio.run(serve_aio(answer))
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        {"threads": serve_threads, "callback": serve_callback}[how](answer)


if __name__ == "__main__":
    main()
