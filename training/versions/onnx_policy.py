"""A version's graph as ONNX Runtime runs it, and the proof that it answers as the trainer's network did."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from polserve.protos.graphs.check import check_model
from polserve.protos.graphs.limits import GraphRefused
from polserve.protos.polserve.onnx import model_pb2 as onnx_pb
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.choices import Choices
from polserve.protos.shared.golden import GoldenMismatch, check_golden
from polserve.protos.shared.names import ACTION, NEXT, OBSERVATION, SPEC_KEY
from polserve.training.errors import ExportRefused, RegistryError
from polserve.training.evaluation.recurrent import RecurrentPlayer
from polserve.training.learning.collector import ChooseActions


class OnnxPolicy:
    """A graph as ONNX Runtime runs it."""

    def __init__(self, model: bytes | Path) -> None:
        """Load the graph from bytes or a file.

        Raises:
            RegistryError: there is no such graph, or it is none that a service runs.
        """
        try:
            content = model.read_bytes() if isinstance(model, Path) else model
            check_model(content)
            self._session = ort.InferenceSession(content, _session_options(), providers=["CPUExecutionProvider"])
        except GraphRefused as refusal:
            raise RegistryError(f"the version holds no graph that a service runs: {refusal}") from refusal
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RegistryError(f"the version holds no graph that ONNX Runtime loads: {reason}") from error
        self.outputs = [output.name for output in self._session.get_outputs()]

    @property
    def spec(self) -> pb.PolicySpec:
        """The spec in the graph's metadata.

        Raises:
            RegistryError: it has none that can be read.
        """
        return _parse_spec(self._session.get_modelmeta().custom_metadata_map)

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        """Shape of each state of a recurrent policy, for one observation; none of any other."""
        return {node.name: tuple(node.shape[1:]) for node in self._session.get_inputs() if node.name != OBSERVATION}

    def run(
        self, observations: NDArray[Any], states: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Every output of the graph by name, for observations (n, *shape) and the states of a recurrent policy.

        Without states, the observations begin episodes.
        """
        if states is None:
            states = {name: np.zeros((len(observations), *shape), np.float32) for name, shape in self.states.items()}
        return dict(zip(self.outputs, self._session.run(None, {OBSERVATION: observations, **states}), strict=True))

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions for observations (n, *shape), which begin episodes where the policy is recurrent."""
        return self.run(observations)[ACTION]

    def act_remembering(
        self, observations: NDArray[Any], states: Mapping[str, NDArray[Any]] | None
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Actions for observations (n, *shape), and the next states; without states, episodes begin."""
        answer = self.run(observations, states)
        return answer[ACTION], {name: answer[NEXT + name] for name in self.states}

    def player(self) -> ChooseActions:
        """Return what plays by this graph: itself, or with a memory where it is recurrent."""
        return RecurrentPlayer(self.act_remembering) if self.states else self.act


def read_spec(model: bytes) -> pb.PolicySpec:
    """Read the spec in a graph's metadata; ONNX Runtime does not load the graph for it.

    Raises:
        RegistryError: there is none that can be read.
    """
    try:
        entries = onnx_pb.Model.FromString(model).metadata_props
    except DecodeError as error:
        raise RegistryError("the version holds no ONNX graph, or a damaged one") from error
    return _parse_spec({entry.key: entry.value for entry in entries})


def _parse_spec(metadata: Mapping[str, str]) -> pb.PolicySpec:
    text = metadata.get(SPEC_KEY)
    if text is None:
        raise RegistryError(f"the graph has no metadata {SPEC_KEY!r}; make a version of it with `polserve import onnx`")
    try:
        return json_format.Parse(text, pb.PolicySpec(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise RegistryError(f"the graph's metadata {SPEC_KEY!r} is no PolicySpec: {error}") from error


def measure_parity(model: bytes, golden: dict[str, NDArray[Any]], choices: Choices | None = None) -> float:
    """Measure the largest difference between the graph's values (or continuous actions) and the golden ones.

    `choices` are what the actions may be, where they are whole numbers; None for one choice from 0 on.

    Raises:
        ExportRefused: it exceeds the tolerance, a discrete action differs, there are too few observations, or the graph
            is none that a service runs.
    """
    try:
        check_model(model)
        return check_golden(OnnxPolicy(model).run, golden, choices)
    except GraphRefused as refusal:
        raise ExportRefused(f"no service runs such a graph: {refusal}") from refusal
    except GoldenMismatch as mismatch:
        raise ExportRefused(f"the graph answers otherwise than the network: {mismatch}") from mismatch


def _session_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return options
