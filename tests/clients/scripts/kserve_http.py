"""What KServe's REST client does against a service."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

URL = sys.argv[1]
OBSERVATIONS = np.array([[0.0, 0.0, 0.1, 0.5], [0.0, 0.0, -0.1, -0.5], [0.1, 0.0, 0.1, 0.5]], np.float32)


def tell(call, result):
    print(json.dumps({"call": call, "result": result}))


def asked(array, *, binary, datatype="FP32"):
    tensor = InferInput("observation", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest("cartpole", [tensor])


def actions(response):
    return next(output.as_numpy().tolist() for output in response.outputs if output.name == "action")


async def refused(call, client, request, model="cartpole"):
    try:
        await client.infer(URL, request, model_name=model)
    except httpx.HTTPStatusError as error:
        tell(call, str(error).partition(", '")[0])
    else:
        tell(call, "not refused")


async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    live, ready = await client.is_server_live(URL), await client.is_server_ready(URL)
    tell("`is_server_live`, `is_server_ready`", f"{live}, {ready}")
    tell('`is_model_ready` of "cartpole"', str(await client.is_model_ready(URL, "cartpole")))
    tell('`is_model_ready` of "unknown"', str(await client.is_model_ready(URL, "unknown")))
    as_json = await client.infer(URL, asked(OBSERVATIONS, binary=False), model_name="cartpole")
    greedy = actions(as_json)
    names = ", ".join(output.name for output in as_json.outputs)
    tell("`infer` of a batch of three, in JSON", f"{names}; {len(greedy)} actions, by {as_json.model_name}")
    binary = await client.infer(URL, asked(OBSERVATIONS, binary=True), model_name="cartpole")
    tell("`infer` of binary tensors", f"the same: {actions(binary) == greedy}")
    plain = {"inputs": [{"name": "observation", "datatype": "FP32", "shape": [3, 4], "data": OBSERVATIONS.tolist()}]}
    tell("`infer` of a dict", f"the same: {actions(await client.infer(URL, plain, model_name='cartpole')) == greedy}")
    many = await asyncio.gather(*(client.infer(URL, plain, model_name="cartpole") for _ in range(32)))
    tell("32 times `infer` at once", f"the same: {all(actions(one) == greedy for one in many)}")
    await refused('`infer` of model "unknown"', client, plain, "unknown")
    await refused("`infer` of another shape", client, asked(OBSERVATIONS[:, :3].copy(), binary=True))
    await refused("`infer` of FP16", client, asked(OBSERVATIONS.astype(np.float16), binary=True, datatype="FP16"))
    await client.close()


asyncio.run(main())
