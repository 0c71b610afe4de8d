"""What Triton's client does against a service over gRPC: sync, by callback, asyncio, streams and sequences."""

import asyncio
import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

TARGET = sys.argv[1]
OBSERVATIONS = np.array([[0.0, 0.0, 0.1, 0.5], [0.0, 0.0, -0.1, -0.5], [0.1, 0.0, 0.1, 0.5]], np.float32)


def tell(call, result):
    print(json.dumps({"call": call, "result": result}))


def refused(call, function, *arguments, **options):
    """Tell with which status a call is refused, and why."""
    try:
        function(*arguments, **options)
    except InferenceServerException as error:
        tell(call, f"{error.status().removeprefix('StatusCode.')}: {error.message()}")
    else:
        tell(call, "not refused")


def observation(array, datatype="FP32", name="observation"):
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def actions(result):
    return result.as_numpy("action").tolist()


def ask_about(client):
    tell("`is_server_live()`, `is_server_ready()`", f"{client.is_server_live()}, {client.is_server_ready()}")
    ready = [client.is_model_ready("cartpole"), client.is_model_ready("cartpole", "@champion")]
    tell('`is_model_ready("cartpole")`, of version `@champion`', f"{ready[0]}, {ready[1]}")
    tell('`is_model_ready("unknown")`', str(client.is_model_ready("unknown")))
    server = client.get_server_metadata(as_json=True)
    tell("`get_server_metadata()`", f"{server['name']}: {', '.join(server['extensions'])}")
    model = client.get_model_metadata("cartpole", as_json=True)
    tensors = [f"{one['name']} {one['datatype']} {one['shape']}" for one in model["inputs"] + model["outputs"]]
    tell('`get_model_metadata("cartpole")`', ", ".join(tensors).replace("'", ""))
    config = client.get_model_config("cartpole", as_json=True)["config"]
    dims = f"{config['input'][0]['data_type']} {config['input'][0]['dims']}".replace("'", "")
    tell('`get_model_config("cartpole")`', f"{config['platform']}, at most {config['max_batch_size']} together, {dims}")
    index = client.get_model_repository_index(as_json=True)["models"]
    tell("`get_model_repository_index()`", ", ".join(f"{one['name']}/{one['version']} {one['state']}" for one in index))


def infer(client):
    result = client.infer("cartpole", [observation(OBSERVATIONS)])
    names = [output.name for output in result.get_response().outputs]
    tell("`infer` of a batch of three", f"{', '.join(names)}; {len(actions(result))} actions")
    greedy = actions(result)
    one = client.infer("cartpole", [observation(OBSERVATIONS[:1])], model_version="1", request_id="seven")
    tell(
        '`infer` of version "1" with `request_id`',
        f"the same: {actions(one) == greedy[:1]}, id {one.get_response().id}",
    )
    alias = client.infer("cartpole", [observation(OBSERVATIONS)], model_version="@champion").get_response()
    tell('`infer` of version "@champion"', f"answered by version {alias.model_version}")
    asked = client.infer("cartpole", [observation(OBSERVATIONS)], outputs=[triton.InferRequestedOutput("values")])
    best = asked.as_numpy("values").argmax(1).tolist() == greedy
    tell("`infer` of the output `values` alone", f"FP32 {list(asked.as_numpy('values').shape)}, best as acted: {best}")
    explored = client.infer("cartpole", [observation(OBSERVATIONS)], parameters={"epsilon": 1.0})
    tell("`infer` with the parameter `epsilon`", f"explored: {explored.as_numpy('explored').all()}")
    doubles = client.infer("cartpole", [observation(OBSERVATIONS.astype(np.float64), "FP64")])
    tell("`infer` of FP64", f"the same: {actions(doubles) == greedy}")
    answers = queue.Queue()
    client.async_infer("cartpole", [observation(OBSERVATIONS)], lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=20)
    tell("`async_infer`", f"the same: {actions(result) == greedy}, error: {error}")
    counts = client.get_inference_statistics("cartpole", as_json=True)["model_stats"]
    has_all = int(counts[0]["inference_count"]) >= 16 and int(counts[0]["execution_count"]) >= 7
    tell("`get_inference_statistics`", f"{len(counts)} version, {counts[0]['version']}; counts all of it: {has_all}")
    return greedy


def unary_sequence(client, greedy):
    options = [{"sequence_start": i == 0, "sequence_end": i == 2} for i in range(3)]
    play = [
        client.infer("cartpole", [observation(OBSERVATIONS[i : i + 1])], sequence_id="one", **options[i])
        for i in range(3)
    ]
    tell("`infer` of a sequence of three", f"the same: {[actions(one)[0] for one in play] == greedy}")
    again = {"sequence_id": "one", "sequence_end": True}
    refused("`infer` of a sequence after its end", client.infer, "cartpole", [observation(OBSERVATIONS[:1])], **again)


def ask_what_cannot_be(client):
    refused('`infer` of model "unknown"', client.infer, "unknown", [observation(OBSERVATIONS)])
    refused('`infer` of version "9"', client.infer, "cartpole", [observation(OBSERVATIONS)], model_version="9")
    halves = observation(OBSERVATIONS.astype(np.float16), "FP16")
    refused("`infer` of FP16", client.infer, "cartpole", [halves])
    texts = observation(np.array([b"left"], object), "BYTES")
    refused("`infer` of BYTES", client.infer, "cartpole", [texts])
    refused("`infer` of another shape", client.infer, "cartpole", [observation(OBSERVATIONS[:, :3].copy())])
    refused("`infer` of an empty batch", client.infer, "cartpole", [observation(OBSERVATIONS[:0])])
    refused("`infer` of another input", client.infer, "cartpole", [observation(OBSERVATIONS, name="INPUT0")])
    unknown = [triton.InferRequestedOutput("logits")]
    refused("`infer` of another output", client.infer, "cartpole", [observation(OBSERVATIONS)], outputs=unknown)
    labels = [triton.InferRequestedOutput("values", class_count=1)]
    refused("`infer` with `class_count`", client.infer, "cartpole", [observation(OBSERVATIONS)], outputs=labels)
    not_a_number = OBSERVATIONS * np.nan
    refused("`infer` of NaN", client.infer, "cartpole", [observation(not_a_number)])
    refused("`load_model`", client.load_model, "cartpole")
    refused("`unload_model`", client.unload_model, "cartpole")
    refused("`get_system_shared_memory_status`", client.get_system_shared_memory_status)
    refused("`get_cuda_shared_memory_status`", client.get_cuda_shared_memory_status)
    refused("`get_trace_settings`", client.get_trace_settings)
    refused("`get_log_settings`", client.get_log_settings)


class Stream:
    """A stream whose answers are taken one by one."""

    def __init__(self, client):
        self.client, self.answers = client, queue.Queue()
        client.start_stream(lambda result, error: self.answers.put((result, error)))

    def ask(self, array, model="cartpole", **options):
        self.client.async_stream_infer(
            model, [observation(array, "UINT8" if array.dtype == np.uint8 else "FP32")], **options
        )
        return self.answers.get(timeout=20)


def stream(client, greedy):
    stream = Stream(client)
    first = [stream.ask(OBSERVATIONS)[0] for _ in range(3)]
    tell(
        "`start_stream`, `async_stream_infer` three times", f"the same: {all(actions(one) == greedy for one in first)}"
    )
    _, error = stream.ask(OBSERVATIONS, model="unknown")
    tell("`async_stream_infer` of an unknown model", error.message())
    tell("the same stream afterwards", f"answers: {actions(stream.ask(OBSERVATIONS)[0]) == greedy}")
    _, error = stream.ask(OBSERVATIONS[:1], sequence_id=7)
    tell("a sequence id that was not begun", error.message())
    play = [
        stream.ask(OBSERVATIONS[i % 3 : i % 3 + 1], sequence_id=name, sequence_start=i == 0, sequence_end=i == 4)
        for i in range(5)
        for name in (11, "twelve")
    ]
    tell(
        "two sequences in turn, by number and by text, five requests each", f"{sum(e is None for _, e in play)} answers"
    )
    _, error = stream.ask(OBSERVATIONS[:1], sequence_id=11)
    tell("a sequence after its end", error.message())
    rewarded = [
        stream.ask(OBSERVATIONS[:1], sequence_id=5, sequence_start=True)[0],
        stream.ask(OBSERVATIONS[1:2], sequence_id=5, parameters={"reward": 1.0})[0],
        stream.ask(OBSERVATIONS[2:], sequence_id=5, sequence_end=True, parameters={"reward": 0.5})[0],
    ]
    earned = rewarded[-1].get_response().parameters["episode_return"].double_param
    tell("a sequence with the parameter `reward`", f"ends with `episode_return` {earned}")
    frames = np.random.default_rng(0).integers(0, 256, (6, 1, 36, 36), np.uint8)
    stacked = np.concatenate([np.repeat(frames[:1], 3, 0), frames])[:, 0]
    seen = [stream.ask(frames[i], "frames", sequence_id=3, sequence_start=i == 0)[0] for i in range(6)]
    whole = [stream.ask(stacked[i : i + 4][np.newaxis], "frames")[0] for i in range(6)]
    alike = all(
        a.as_numpy("values").tolist() == b.as_numpy("values").tolist() for a, b in zip(seen, whole, strict=True)
    )
    tell("a sequence of frames beside whole stacks of them", f"the same values: {alike}")
    client.stop_stream()
    tell("`stop_stream` with an open sequence", "ends")


async def with_asyncio(greedy):
    async with triton_aio.InferenceServerClient(TARGET) as client:
        results = await asyncio.gather(*(client.infer("cartpole", [observation(OBSERVATIONS)]) for _ in range(32)))
        tell("asyncio: 32 times `infer` at once", f"the same: {all(actions(one) == greedy for one in results)}")

        async def requests():
            for i in range(4):
                yield {
                    "model_name": "cartpole",
                    "inputs": [observation(OBSERVATIONS[:1])],
                    "sequence_id": 8,
                    "sequence_start": i == 0,
                    "sequence_end": i == 3,
                }

        answers = [pair async for pair in client.stream_infer(requests())]
        are_alike = all(error is None and actions(result) == greedy[:1] for result, error in answers)
        tell("asyncio: `stream_infer` of a sequence of four", f"{len(answers)} answers, the same: {are_alike}")


def main():
    with triton.InferenceServerClient(TARGET) as client:
        ask_about(client)
        greedy = infer(client)
        unary_sequence(client, greedy)
        ask_what_cannot_be(client)
        stream(client, greedy)
    asyncio.run(with_asyncio(greedy))


main()
