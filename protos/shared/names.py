"""Names and numbers that training writes and serving reads, inside a policy version and on its registry entry."""

import re
from pathlib import Path

MODEL_FILE = "model.onnx"
GOLDEN_FILE = Path("extra_files") / "golden.npz"

OBSERVATION = "observation"
ACTION = "action"
VALUES = "values"
"""Names of the graph's input and outputs, and of the arrays in golden.npz."""

NEXT = "next_"
"""Before the name of a recurrent policy's state: the output that holds what is remembered for the next observation."""

SPEC_KEY = "polserve.spec"
"""ONNX metadata key that holds a PolicySpec as JSON."""
SCHEMA_VERSION = 1
"""The schema version of the PolicySpec that this code writes."""

MIN_GOLDEN = 64
"""The fewest observations that golden.npz may hold."""
POLICY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What the name of a policy matches: it is the name of a folder too."""

POLICY_TAG = "polserve.policy"
"""Tag of a registered model that is a policy."""
SHA256_TAG = "polserve.sha256"
"""Tag of a registry version: sha256 of its model.onnx, hexadecimal."""
CHAMPION = "champion"
"""The alias that answers where a request names no version."""

MICROS = 1_000_000
"""Micros in a unit of a currency."""
BUDGET_COMPONENTS = ("day", "horizon_days", "total", "remaining", "demand", "weekday")
"""Components of an allocator's observation that are no channel's; money is in units of the currency."""


def spent_component(channel: str, days_ago: int) -> str:
    """Name the component of an allocator's observation that holds what a channel spent, 1 day ago or more."""
    return f"{channel}_spent_{days_ago}"
