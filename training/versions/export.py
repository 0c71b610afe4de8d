"""From a trained network to a policy version: one ONNX graph, its spec, and proof that it answers alike."""

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import onnx
import torch
from google.protobuf import json_format
from numpy.typing import NDArray
from torch import nn

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.choices import Choices
from polserve.protos.shared.golden import states_of
from polserve.protos.shared.names import ACTION, NEXT, OBSERVATION, SPEC_KEY, VALUES
from polserve.training.errors import ExportRefused
from polserve.training.learning.tracing import GUARD
from polserve.training.versions.onnx_policy import measure_parity
from polserve.training.versions.version import PolicyVersion

States: TypeAlias = Mapping[str, NDArray[Any]]
"""States of a recurrent policy by name, (n, *shape) float32 each."""
NO_STATES: States = MappingProxyType({})


def export_policy(
    policy: nn.Module, spec: pb.PolicySpec, observations: NDArray[Any], states: States = NO_STATES
) -> PolicyVersion:
    """Export a trained policy as a version.

    Args:
        policy: from observations (n, *shape) to actions, or to actions and values; of a recurrent policy, from
            observations and its states to the same and the next states.
        spec: of the policy; the version's has the parity too, and the states.
        observations: (n, *shape) met in evaluation, at least 64: the golden set.
        states: a recurrent policy's states by name, (n, *shape) float32 each, as they were before the observations.

    Raises:
        ExportRefused: the graph answers otherwise than the network, or there are too few observations.
    """
    golden = {OBSERVATION: observations, **states, **answers(policy, observations, states)}
    example = {name: array[:2] for name, array in states.items()}
    return seal(export_graph(policy, observations[:2], example), spec, golden)


def seal(model: onnx.ModelProto, spec: pb.PolicySpec, golden: dict[str, NDArray[Any]]) -> PolicyVersion:
    """Make a version of a graph that answers the golden observations as stated; its spec goes into the graph.

    Raises:
        ExportRefused: the graph answers otherwise, or there are too few observations.
    """
    difference = measure_parity(model.SerializeToString(), golden, Choices.of(spec.action))
    stated = pb.PolicySpec()
    stated.CopyFrom(spec)
    del stated.states[:]
    stated.states.extend(
        pb.StateSpec(name=name, dtype=pb.FLOAT32, shape=golden[name].shape[1:]) for name in states_of(golden)
    )
    stated.parity.observations = len(golden[OBSERVATION])
    stated.parity.largest_value_difference = difference
    onnx.helper.set_model_props(model, {SPEC_KEY: json_format.MessageToJson(stated, indent=None)})
    return PolicyVersion(model, stated, golden)


@GUARD.beside
@torch.no_grad()
def answers(policy: nn.Module, observations: NDArray[Any], states: States = NO_STATES) -> dict[str, NDArray[Any]]:
    """Actions of a module, and its values and next states where it has them, by the names of the graph's outputs."""
    answer = policy(torch.from_numpy(observations), *map(torch.from_numpy, states.values()))
    outputs = answer if isinstance(answer, tuple) else (answer,)
    first = (ACTION, VALUES)[: len(outputs) - len(states)]
    names = (*first, *(NEXT + name for name in states))
    return {name: output.numpy() for name, output in zip(names, outputs, strict=False)}


def export_graph(policy: nn.Module, example: NDArray[Any], states: States = NO_STATES) -> onnx.ModelProto:
    """Export a module as a graph whose first axis is dynamic.

    Args:
        policy: as `export_policy` takes it.
        example: two observations (2, *shape).
        states: a recurrent policy's states by name, for two observations.

    Raises:
        ExportRefused: the module cannot be exported so.
    """
    outputs = list(answers(policy, example, states))
    inputs = {OBSERVATION: example, **states}
    # NOTE: torch.export takes an extent of 0 or 1 in the example for a constant, so the example is a batch of two.
    with GUARD.tracing(), _quiet():
        try:
            program = torch.onnx.export(
                policy,
                tuple(map(torch.from_numpy, inputs.values())),
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=_dynamic_shapes(policy, len(states)),
                external_data=False,
                verbose=False,  # it prints nothing then
            )
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:
            raise ExportRefused(f"torch.onnx.export cannot export the network: {_reason(error)}") from error
    if program is None:
        raise ExportRefused("torch.onnx.export gave no program")
    model: onnx.ModelProto = program.model_proto
    _strip(model.graph)
    for node in (*model.graph.input, *model.graph.output):
        if not node.type.tensor_type.shape.dim[0].dim_param:
            raise ExportRefused(f"axis 0 of {node.name} was frozen in the export")
    return model


def _reason(error: Exception) -> str:
    """Find the first error of those that led to this one, in one line: the exporter's own tells of its stages."""
    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    return " ".join(str(first).split())[:300] or type(first).__name__


def _dynamic_shapes(policy: nn.Module, n_states: int) -> tuple[Any, ...]:
    """Say that the first axis of every input counts observations, in the form of the module's own arguments."""
    batch = torch.export.Dim("batch")
    states = tuple({0: batch} for _ in range(n_states))
    takes_any = any(
        parameter.kind is parameter.VAR_POSITIONAL
        for parameter in inspect.signature(policy.forward).parameters.values()
    )
    return ({0: batch}, states) if states and takes_any else ({0: batch}, *states)


def _strip(graph: onnx.GraphProto) -> None:
    """Take out the exporter's notes: stack traces, with the paths of this machine."""
    parts: list[Any] = [*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in parts:
        del part.metadata_props[:]
        part.ClearField("doc_string")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's log and warnings; standard output, which all threads share, stays as it is."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
