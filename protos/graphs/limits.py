"""How large and how new a graph may be."""

from dataclasses import dataclass

MIB = 2**20


class GraphRefused(ValueError):
    """A graph that no service runs; the message names the field, what was expected, what came, and the remedy."""

    def __init__(self, field: str, expected: str, got: str, remedy: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}; {remedy}")


@dataclass(frozen=True, slots=True)
class GraphLimits:
    """How large and how new a graph may be."""

    model_bytes: int = 2048 * MIB
    """Bytes of the model; protobuf itself reads no more than 2 GiB."""
    spec_bytes: int = MIB
    """Bytes of the spec in the metadata. The largest of this repository has 8 KB."""
    nodes: int = 50_000
    """Nodes, those of subgraphs included. The largest bundled policy has 85."""
    depth: int = 4
    """Subgraphs in each other."""
    elements: int = 2**27
    """Numbers in what a constant shape describes: half a GiB of float32."""
    growth: int = 4096
    """Value of an attribute that makes results larger, such as `pads` or `strides`."""
    opset: range = range(7, 29)
    """Versions of ONNX's own operators that ONNX Runtime 1.32 has; before 7 it guarantees nothing."""
    classic_opset: range = range(1, 6)
    """Likewise of those in ai.onnx.ml."""
    more_operators: frozenset[str] = frozenset()
    """Operators that are taken beside those that a service runs."""
    ir_version: range = range(3, 15)
    """Versions of the format that ONNX Runtime 1.32 reads; before 3 there was no opset."""


LIMITS = GraphLimits()
