"""What KServe's client does against a service over gRPC."""

import asyncio
import json
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

TARGET = sys.argv[1]
OBSERVATIONS = np.array([[0.0, 0.0, 0.1, 0.5], [0.0, 0.0, -0.1, -0.5], [0.1, 0.0, 0.1, 0.5]], np.float32)


def tell(call, result):
    print(json.dumps({"call": call, "result": result}))


def request(array, *, is_binary, model="cartpole", datatype="FP32", **options):
    tensor = InferInput("observation", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=is_binary)
    return InferRequest(model_name=model, infer_inputs=[tensor], **options)


async def refused(call, awaitable):
    try:
        await awaitable
    except grpc.RpcError as error:
        tell(call, f"{error.code().name}: {error.details()}")
    else:
        tell(call, "not refused")


def actions(response):
    return next(one for one in response.outputs if one.name == "action").as_numpy().tolist()


async def main():
    async with InferenceGRPCClient(TARGET) as client:
        tell(
            "`is_server_live()`, `is_server_ready()`",
            f"{await client.is_server_live()}, {await client.is_server_ready()}",
        )
        tell('`is_model_ready("cartpole")`', str(await client.is_model_ready("cartpole")))
        tell('`is_model_ready("unknown")`', str(await client.is_model_ready("unknown")))
        raw = await client.infer(request(OBSERVATIONS, is_binary=True, request_id="seven"))
        outputs = [f"{one.name} {one.datatype} {one.shape}" for one in raw.outputs]
        tell("`infer` of binary data", f"{', '.join(outputs)}; version {raw.model_version}, id {raw.id}")
        typed = await client.infer(request(OBSERVATIONS, is_binary=False))
        tell("`infer` of typed data", f"the same: {actions(typed) == actions(raw)}")
        explored = await client.infer(request(OBSERVATIONS, is_binary=True, parameters={"epsilon": "1.0"}))
        last = explored.outputs[-1]
        tell("`infer` with the parameter `epsilon` as text", f"{last.name} {last.as_numpy().all()}")
        many = await asyncio.gather(*(client.infer(request(OBSERVATIONS, is_binary=True)) for _ in range(32)))
        tell("32 times `infer` at once", f"the same: {all(actions(one) == actions(raw) for one in many)}")
        await refused(
            '`infer` of model "unknown"', client.infer(request(OBSERVATIONS, is_binary=True, model="unknown"))
        )
        halves = request(OBSERVATIONS.astype(np.float16), is_binary=True, datatype="FP16")
        await refused("`infer` of FP16", client.infer(halves))
        await refused("`infer` of another shape", client.infer(request(OBSERVATIONS[:, :3].copy(), is_binary=False)))


asyncio.run(main())
