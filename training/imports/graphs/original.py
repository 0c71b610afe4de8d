"""The graph as it came, run by ONNX Runtime, with the steps around it by numpy: what an import is compared with."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.steps import Array
from polserve.training.imports.graphs.wiring import Dims, GraphInput, Wiring, prepared

NO_AXIS = 0
"""Batch of an input that has no axis for it."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How a graph takes observations: together, so many at once, or one without an axis for several."""

    sizes: dict[str, int | None]
    """Extent of the first axis by input; None where it is dynamic, NO_AXIS where there is none."""

    @property
    def is_dynamic(self) -> bool:
        """Whether any number of observations goes in together."""
        return all(size is None for size in self.sizes.values())

    @property
    def together(self) -> int:
        """Observations that go in together where their number is fixed; 1 where inputs differ."""
        sizes = set(self.sizes.values())
        return next(iter(sizes)) or 1 if len(sizes) == 1 else 1


class Original:
    """The graph as it came."""

    def __init__(self, path: Path, model: onnx.ModelProto, wiring: Wiring) -> None:
        """Load the graph.

        Raises:
            ImportRefused: ONNX Runtime does not load it.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            raise ImportRefused(
                f"{path.name}: expected a graph that ONNX Runtime loads: {_line(error)}; export it anew"
            ) from error
        self._file = path.name
        self._wiring = wiring
        self.batching = Batching({})

    def find_batching(self, observations: Array) -> None:
        """Find out how the graph takes observations, by its shapes and by a trial with some of them.

        Raises:
            ImportRefused: its inputs have other shapes than what they are given.
        """
        fed = {wired.name: prepared(wired, observations[:2]) for wired in self._observed}
        sizes = {wired.name: self._batch_of(wired, fed[wired.name].shape[1:]) for wired in self._observed}
        self.batching = Batching(sizes)
        if self.batching.is_dynamic and not self._takes_two(observations[:2]):
            self.batching = Batching(dict.fromkeys(sizes, 1))  # dynamic by name only

    def run(self, observations: Array) -> dict[str, Array]:
        """Run the graph; return the outputs that are read by name, with a row for each observation.

        Raises:
            ImportRefused: the graph cannot run.
        """
        fed = {wired.name: prepared(wired, observations) for wired in self._observed}
        n = len(observations)
        if self.batching.is_dynamic:
            return self._call(fed, n)
        size = self.batching.together
        parts = [self._part({name: rows[i : i + size] for name, rows in fed.items()}) for i in range(0, n, size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._wiring.outputs}

    @property
    def _observed(self) -> list[GraphInput]:
        return [wired for wired in self._wiring.inputs if not wired.is_constant]

    def _batch_of(self, wired: GraphInput, shape: tuple[int, ...]) -> int | None:
        dims = wired.dims
        if dims is None or _fits(dims[1:], shape):
            return dims[0] if dims else None
        if _fits(dims, shape):
            return NO_AXIS
        raise ImportRefused(
            f"{self._file}: input {wired.name!r} has shape {_written(dims)}, and each observation comes to it as "
            f"{_written(shape)}; expected the same, with an axis for the batch before it or without: add steps to it, "
            "such as reshape, layout or stack"
        )

    def _takes_two(self, observations: Array) -> bool:
        """Whether the graph gives two answers for two observations."""
        try:
            answers = self.run(observations)
        except ImportRefused:
            return False
        return all(array.ndim > 0 and len(array) == len(observations) for array in answers.values())

    def _part(self, rows: dict[str, Array]) -> dict[str, Array]:
        """Answers of a graph of fixed batch for as many rows, or fewer."""
        n = len(next(iter(rows.values())))
        fed = {name: self._filled(array, self.batching.sizes[name]) for name, array in rows.items()}
        answers = self._call(fed, 1)
        size = self.batching.together
        if size > 1:
            return {name: self._first(name, array, size)[:n] for name, array in answers.items()}
        has_axis = any(size != NO_AXIS for size in self.batching.sizes.values())
        return {
            name: array if has_axis and array.ndim and len(array) == 1 else array[np.newaxis]
            for name, array in answers.items()
        }

    def _first(self, name: str, array: Array, size: int) -> Array:
        if not array.ndim or len(array) != size:
            raise ImportRefused(
                f"{self._file}: expected {size} answers in {name!r} for a batch of {size}, got {array.shape}"
            )
        return array

    @staticmethod
    def _filled(rows: Array, size: int | None) -> Array:
        """Rows as an input takes them: the last repeated up to its batch, or one without an axis."""
        if size == NO_AXIS:
            return np.asarray(rows[0])
        missing = (size or 1) - len(rows)
        return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing > 0 else rows

    def _call(self, fed: dict[str, Array], n: int) -> dict[str, Array]:
        constants = {wired.name: constant_for(wired, n) for wired in self._wiring.inputs if wired.is_constant}
        try:
            outputs: list[Any] = self._session.run(self._wiring.outputs, {**fed, **constants})
        except Exception as error:  # likewise
            raise ImportRefused(f"{self._file}: expected a graph that runs: {_line(error)}") from error
        return {name: np.asarray(array) for name, array in zip(self._wiring.outputs, outputs, strict=True)}


def constant_for(wired: GraphInput, n: int) -> Array:
    """Constant of an input for a batch of n."""
    value = np.asarray(wired.value)
    return np.repeat(value, n, axis=0) if wired.is_constant_by_row else value


def widened(batching: Batching) -> Batching:
    """Batching of a graph whose inputs were given a dynamic axis."""
    return replace(batching, sizes=dict.fromkeys(batching.sizes))


def _fits(dims: Dims, shape: tuple[int, ...]) -> bool:
    return len(dims) == len(shape) and all(dim in {None, extent} for dim, extent in zip(dims, shape, strict=True))


def _written(dims: Dims) -> str:
    return f"({', '.join('any' if dim is None else str(dim) for dim in dims)})"


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
