"""JSON as it comes from anybody: read strictly, and only as much of it as is read in no time."""

import json
import math
from collections import Counter, deque
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from polserve.protos.tensors import MOST_AXES
from polserve.serving.errors import InvalidRequest

MAX_JSON_BYTES = 2 * 2**20
"""Longest JSON: no other thread runs while it is read."""
MOST_LISTS = 2**17
"""Most lists and objects in it, which take longer to read than numbers."""
LARGE_JSON_BYTES = 64 * 1024
"""Length from which JSON is read in another thread than that of the connections."""
BEYOND_INT64 = 2.0**63
LARGE = 1e38
"""Whole numbers above this are beyond float32, which is what is said of them."""
SHOWN = 80
"""Characters of a value that an error repeats, at most."""


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    Raises:
        InvalidRequest: it is none, or says something twice, or has numbers that JSON does not know.
    """
    found = parse(data)
    if not isinstance(found, dict):
        raise InvalidRequest("body", "a JSON object", shown(found))
    return found


def parse(data: bytes) -> Any:
    """Return what a body of JSON says; raises InvalidRequest."""
    n_lists = data.count(b"[") + data.count(b"{")
    if n_lists > MOST_LISTS:
        remedy = "send large observations as bytes: POST /v2/models/NAME/infer, or gRPC"
        raise InvalidRequest("body", f"at most {MOST_LISTS} lists and objects", f"{n_lists}; {remedy}")
    if not data.strip():
        raise InvalidRequest("body", "JSON", "nothing")
    try:
        return _DECODER.decode(data.decode())
    except InvalidRequest:
        raise
    except RecursionError:
        raise InvalidRequest("body", "JSON of a reasonable depth", "hundreds of levels") from None
    except UnicodeDecodeError as error:
        raise InvalidRequest("body", "JSON in UTF-8", f"another byte at {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest("body", "JSON", f"something else at {where}: {error.msg}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise InvalidRequest("body", "JSON", str(error)[:SHOWN] or "something else") from None


def numbers(value: object, field: str, *, wanted: np.dtype[Any] | None = None) -> NDArray[Any]:
    """Return the numbers of nested lists of equal lengths, whole ones as int64 and others as float64, or booleans.

    Where one of the whole ones is beyond int64, all are float64.

    A number beyond what float64 holds is infinite, which whoever takes the numbers refuses.

    Args:
        value: the lists, or one number.
        field: what errors call it.
        wanted: dtype that they are for, where that is known: numbers of uint64 come as such, and of integers beyond
            those of another dtype whoever takes the numbers says what is wrong.

    Raises:
        InvalidRequest: they are none, or a whole one is beyond int64 and held by no float64.
    """
    if _has_text(value):  # NOTE: numpy would make room in each item for the longest text: gigabytes of a small body
        raise InvalidRequest(field, "numbers, in lists of equal lengths", _odd(value))
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError):
        raise InvalidRequest(field, "numbers in lists of equal lengths", _uneven(value)) from None
    is_exact = wanted is None or wanted.kind == "f" or wanted == np.uint64
    is_beyond = array.dtype.kind in "uO" or (array.dtype.kind == "f" and bool((np.abs(array) >= BEYOND_INT64).any()))
    items = list(np.asarray(value, object).flat) if is_beyond else []
    if wanted == np.uint64 and items and all(type(item) is int and 0 <= item < 2**64 for item in items):
        return np.array(items, np.uint64).reshape(array.shape)
    if items and all(isinstance(item, (int, float)) for item in items):
        array = np.array([_as_float(item, field, is_exact=is_exact) for item in items]).reshape(array.shape)
    if array.dtype.kind not in "fib" or array.ndim > MOST_AXES:
        raise InvalidRequest(field, "numbers, in lists of equal lengths", _odd(value))
    return array


def shown(value: object) -> str:
    """Write a value of JSON for an error: short, whatever it is."""
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def as_text(field: str, value: object) -> str:
    """Return a text that a message may hold; raises InvalidRequest where it is none."""
    if not isinstance(value, str):
        raise InvalidRequest(field, "a text", shown(value))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(field, "a text that UTF-8 can write", shown(value)) from None
    return value


def _has_text(value: object) -> bool:
    """Whether a text is among the items of nested lists."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            kinds = set(map(type, item))
            if str in kinds:
                return True
            if list in kinds:
                pending.extend(each for each in item if isinstance(each, list))
        elif isinstance(item, str):
            return True
    return False


def _uneven(value: object) -> str:
    """Describe nested lists that are no array, by the outermost one of which that can be told."""
    pending = deque([value])
    while pending:
        item = pending.popleft()
        if not isinstance(item, list):
            continue
        lists = [each for each in item if isinstance(each, list)]
        if lists and len(lists) < len(item):
            return "lists and numbers beside each other"
        lengths = sorted({len(each) for each in lists})
        if len(lengths) > 1:
            return f"lists of {', '.join(map(str, lengths[:5]))}"
        pending.extend(lists)
    return shown(value)


def _odd(value: object) -> str:
    """Describe the first item that is no number."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(reversed(item))
        elif not isinstance(item, (int, float)):
            return shown(item)
    return shown(value)


def _as_float(value: float, field: str, *, is_exact: bool) -> float:
    """Return a number as a float; what no float holds is infinite, and a whole one that a float rounds is refused."""
    try:
        number = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    if is_exact and isinstance(value, int) and abs(number) < LARGE and int(number) != value:
        raise InvalidRequest(field, "whole numbers that float64 holds", shown(value))
    return number


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, n in counts.items() if n > 1)
        raise InvalidRequest("body", "each name once in an object", f"{shown(twice)} twice")
    return found


def _constant(name: str) -> NoReturn:
    raise InvalidRequest("body", "numbers as JSON has them", name)


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def dump(value: Any) -> bytes:
    """Return a value as JSON; numbers that JSON does not know are text, such as "Infinity", as protobuf writes them."""
    try:
        return json.dumps(value, allow_nan=False).encode() + b"\n"
    except ValueError:
        return json.dumps(_spelled(value), allow_nan=False).encode() + b"\n"


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_spelled(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
