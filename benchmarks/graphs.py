"""Graphs to measure with: untrained policies of frames, and what the model alone costs."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import ACTION, OBSERVATION, SCHEMA_VERSION
from polserve.serving.policy import Policy
from polserve.training.versions.export import export_policy

FEWEST_RUNS = 10


def write_untrained(folder: Path, name: str, policy: nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    """Write an untrained version into folder/name/1, of stacks `shape` of bytes; the value is an observation for it."""
    torch.manual_seed(0)
    observations = np.random.default_rng(0).integers(0, 256, (64, *shape), np.uint8)
    spec = pb.PolicySpec(
        schema_version=SCHEMA_VERSION,
        name=name,
        algorithm="dqn",
        observation=pb.ObservationSpec(dtype=pb.UINT8, shape=shape, frames=shape[0]),
        action=pb.ActionSpec(discrete=pb.DiscreteActions(n=9)),
    )
    version = export_policy(policy, spec, observations)
    version.write(folder / name / "1")
    first: np.ndarray = observations[0]
    return first


def model_ms(policy: Policy, observations: np.ndarray) -> float:
    """CPU milliseconds of one run of the model."""
    n = max(20, round(0.3 / max(policy_s(policy, observations), 1e-6)))
    started = time.process_time()
    for _ in range(n):
        policy.act(observations)
    return 1000 * (time.process_time() - started) / n


def session_ms(model: bytes, observations: np.ndarray, is_over: Callable[[], bool]) -> float:
    """CPU milliseconds of one `session.run` of ONNX Runtime with its defaults, on one thread, until `is_over`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = {OBSERVATION: observations}
    session.run([ACTION], inputs)
    started = time.thread_time()
    n = 0
    while n < FEWEST_RUNS or not is_over():
        session.run([ACTION], inputs)
        n += 1
    return 1000 * (time.thread_time() - started) / n


def policy_s(policy: Policy, observations: np.ndarray) -> float:
    """Wall time of one warm run."""
    policy.act(observations)
    started = time.perf_counter()
    policy.act(observations)
    return time.perf_counter() - started
