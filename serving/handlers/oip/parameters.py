"""Parameters of a request of the Open Inference Protocol: each a bool, a number or a text, by its name.

A name that is none of those here is left alone: clients may send whatever other servers know.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.serving.errors import InvalidRequest

Value: TypeAlias = bool | int | float | str

MOST_PARAMETERS = 256
"""Parameters of a request, at most: a message has room for a hundred thousand."""
EPSILON = "epsilon"
"""Probability with which each action is drawn at random instead, as in ActRequest."""
SEQUENCE_ID = "sequence_id"
LONGEST_ID = 128
"""Characters of the id of a sequence; as long as Triton's may be."""
SEQUENCE_START = "sequence_start"
SEQUENCE_END = "sequence_end"
REWARD = "reward"
"""What the action before earned, in a sequence."""
TRUNCATED = "truncated"
"""Whether a sequence that ends was ended by a limit of time, not by the environment."""

SHARED_MEMORY = "shared_memory_region"
CLASSIFICATION = "classification"
NOT_OFFERED = {
    SHARED_MEMORY: "tensors in the message: shared memory is not offered",
    CLASSIFICATION: "no labels: outputs are numbers, and the spec of the policy names the actions",
}
"""Parameters of a tensor that ask for what is not offered, and what is expected instead."""


def read_parameters(given: Mapping[str, pb.InferParameter]) -> dict[str, Value]:
    """Return parameters by name; those without a value are left out.

    Raises:
        InvalidRequest: there are absurdly many.
    """
    if len(given) > MOST_PARAMETERS:
        raise InvalidRequest("parameters", f"at most {MOST_PARAMETERS}", str(len(given)))
    values: dict[str, Value] = {}
    for name, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is not None:
            values[name] = getattr(parameter, kind)
    return values


def number(values: Mapping[str, Value], name: str) -> float | None:
    """Return a parameter that is a finite number; None where it is not there.

    A text that spells a number is one, too: KServe's client sends no fractions.

    Raises:
        InvalidRequest: it is none.
    """
    value = values.get(name)
    if value is None:
        return None
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InvalidRequest(f"parameters.{name}", "a finite number", repr(value)[:80])
    return found


def flag(values: Mapping[str, Value], name: str) -> bool:
    """Return a parameter that is true or false; false where it is not there.

    Raises:
        InvalidRequest: it is neither.
    """
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"parameters.{name}", "true or false", repr(value)[:80])
    return value


def sequence_id(values: Mapping[str, Value]) -> int | str | None:
    """Return the id of the sequence that a request belongs to; None where it is 0, empty or not there.

    Raises:
        InvalidRequest: it is neither a whole number nor a text, or is longer than Triton's may be.
    """
    value = values.get(SEQUENCE_ID)
    if isinstance(value, bool | float):
        raise InvalidRequest(f"parameters.{SEQUENCE_ID}", "a whole number or a text", repr(value))
    if isinstance(value, str) and len(value) > LONGEST_ID:  # it is kept for as long as the sequence
        raise InvalidRequest(f"parameters.{SEQUENCE_ID}", f"at most {LONGEST_ID} characters", str(len(value)))
    return value or None


def check_offered(field: str, given: Mapping[str, pb.InferParameter]) -> None:
    """Return if the parameters of a tensor ask for nothing that is not offered; raises InvalidRequest."""
    for name, expected in NOT_OFFERED.items():
        if name in given:
            raise InvalidRequest(f"{field}.parameters.{name}", expected, name)


def check_alone(parameters: Mapping[str, Value]) -> None:
    """Return if a request without a sequence says nothing of one; raises InvalidRequest."""
    for name in (SEQUENCE_START, SEQUENCE_END, REWARD, TRUNCATED):
        if parameters.get(name):
            expected = f"an id of a sequence, a number other than 0 or a text, with {name}"
            raise InvalidRequest(f"parameters.{SEQUENCE_ID}", expected, repr(parameters.get(SEQUENCE_ID))[:80])
