"""What Triton's client does against a service over HTTP: sync, threads, asyncio, JSON and binary tensors."""

import asyncio
import json
import sys

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

ADDRESS = sys.argv[1].removeprefix("http://")
OBSERVATIONS = np.array([[0.0, 0.0, 0.1, 0.5], [0.0, 0.0, -0.1, -0.5], [0.1, 0.0, 0.1, 0.5]], np.float32)


def tell(call, result):
    print(json.dumps({"call": call, "result": result}))


def refused(call, function, *arguments, **options):
    """Tell with which status a call is refused, and why."""
    try:
        function(*arguments, **options)
    except InferenceServerException as error:
        tell(call, f"{error.status()}: {error.message()}")
    else:
        tell(call, "not refused")


def observation(array, datatype="FP32", name="observation", *, binary=True):
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def actions(result):
    return result.as_numpy("action").tolist()


def ask_about(client):
    tell("`is_server_live()`, `is_server_ready()`", f"{client.is_server_live()}, {client.is_server_ready()}")
    ready = [client.is_model_ready("cartpole"), client.is_model_ready("cartpole", "@champion")]
    tell('`is_model_ready("cartpole")`, of version `@champion`', f"{ready[0]}, {ready[1]}")
    tell('`is_model_ready("unknown")`', str(client.is_model_ready("unknown")))
    server = client.get_server_metadata()
    tell("`get_server_metadata()`", f"{server['name']}: {', '.join(server['extensions'])}")
    model = client.get_model_metadata("cartpole")
    tensors = [f"{one['name']} {one['datatype']} {one['shape']}" for one in model["inputs"] + model["outputs"]]
    tell('`get_model_metadata("cartpole")`', ", ".join(tensors))
    config = client.get_model_config("cartpole", "1")
    dims = f"{config['input'][0]['data_type']} {config['input'][0]['dims']}"
    tell('`get_model_config("cartpole")`', f"{config['platform']}, at most {config['max_batch_size']} together, {dims}")
    index = client.get_model_repository_index()
    tell("`get_model_repository_index()`", ", ".join(f"{one['name']}/{one['version']} {one['state']}" for one in index))


def infer(client):
    result = client.infer("cartpole", [observation(OBSERVATIONS)])
    greedy = actions(result)
    names = [output["name"] for output in result.get_response()["outputs"]]
    tell("`infer` of a batch of three, binary both ways", f"{', '.join(names)}; {len(greedy)} actions")
    wanted = [triton.InferRequestedOutput("action", binary_data=False)]
    result = client.infer("cartpole", [observation(OBSERVATIONS, binary=False)], outputs=wanted)
    tell("`infer` with `binary_data=False`, JSON both ways", f"the same: {actions(result) == greedy}")
    one = client.infer("cartpole", [observation(OBSERVATIONS[:1])], model_version="1", request_id="seven")
    same = actions(one) == greedy[:1]
    tell('`infer` of version "1" with `request_id`', f"the same: {same}, id {one.get_response()['id']}")
    alias = client.infer("cartpole", [observation(OBSERVATIONS)], model_version="@champion").get_response()
    tell('`infer` of version "@champion"', f"answered by version {alias['model_version']}")
    asked = client.infer("cartpole", [observation(OBSERVATIONS)], outputs=[triton.InferRequestedOutput("values")])
    best = asked.as_numpy("values").argmax(1).tolist() == greedy
    tell("`infer` of the output `values` alone", f"FP32 {list(asked.as_numpy('values').shape)}, best as acted: {best}")
    explored = client.infer("cartpole", [observation(OBSERVATIONS)], parameters={"epsilon": 1.0})
    tell("`infer` with the parameter `epsilon`", f"explored: {explored.as_numpy('explored').all()}")
    for way in ("gzip", "deflate"):
        packed = client.infer(
            "cartpole",
            [observation(OBSERVATIONS)],
            request_compression_algorithm=way,
            response_compression_algorithm=way,
        )
        tell(f"`infer` compressed by {way}", f"the same: {actions(packed) == greedy}")
    waiting = client.async_infer("cartpole", [observation(OBSERVATIONS)])
    tell("`async_infer`", f"the same: {actions(waiting.get_result()) == greedy}")
    counts = client.get_inference_statistics("cartpole")["model_stats"]
    tell("`get_inference_statistics`", f"{len(counts)} version; counts: {counts[0]['inference_count'] >= 16}")
    return greedy


def play_a_sequence(client):
    flags = [{"sequence_start": i == 0, "sequence_end": i == 2} for i in range(3)]
    one = [observation(OBSERVATIONS[:1])]
    play = [client.infer("cartpole", one, sequence_id="one", **flags[i]).as_numpy("action").tolist() for i in range(3)]
    tell(
        "`infer` of a sequence of three",
        f"the same: {play == [client.infer('cartpole', one).as_numpy('action').tolist()] * 3}",
    )


def ask_what_cannot_be(client):
    refused('`infer` of model "unknown"', client.infer, "unknown", [observation(OBSERVATIONS)])
    refused('`infer` of version "9"', client.infer, "cartpole", [observation(OBSERVATIONS)], model_version="9")
    halves = observation(OBSERVATIONS.astype(np.float16), "FP16")
    refused("`infer` of FP16", client.infer, "cartpole", [halves])
    refused("`infer` of another shape", client.infer, "cartpole", [observation(OBSERVATIONS[:, :3].copy())])
    refused("`infer` of another input", client.infer, "cartpole", [observation(OBSERVATIONS, name="INPUT0")])
    refused("`infer` of NaN", client.infer, "cartpole", [observation(OBSERVATIONS * np.nan)])
    refused("`infer` of NaN in JSON", client.infer, "cartpole", [observation(OBSERVATIONS * np.nan, binary=False)])
    refused(
        "`infer` with a sequence id that was not begun",
        client.infer,
        "cartpole",
        [observation(OBSERVATIONS)],
        sequence_id=7,
    )
    refused("`load_model`", client.load_model, "cartpole")
    refused("`unload_model`", client.unload_model, "cartpole")
    refused("`get_system_shared_memory_status`", client.get_system_shared_memory_status)
    refused("`get_trace_settings`", client.get_trace_settings)
    refused("`get_log_settings`", client.get_log_settings)


async def infer_at_once(greedy):
    async with triton_aio.InferenceServerClient(ADDRESS) as client:
        tensor = triton_aio.InferInput("observation", OBSERVATIONS.shape, "FP32")
        tensor.set_data_from_numpy(OBSERVATIONS)
        results = await asyncio.gather(*(client.infer("cartpole", [tensor]) for _ in range(32)))
    tell("asyncio: 32 times `infer` at once", f"the same: {all(actions(one) == greedy for one in results)}")


with triton.InferenceServerClient(ADDRESS, concurrency=4) as client:
    ask_about(client)
    greedy = infer(client)
    play_a_sequence(client)
    ask_what_cannot_be(client)
asyncio.run(infer_at_once(greedy))
