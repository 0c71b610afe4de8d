"""Pickles read without running anything: only arrays and the attributes of a few named classes come out.

Python's own unpickler calls whatever a pickle names. This one answers every name with a stand-in of ours, which keeps
what it is given and calls nothing; a name that is not on the list ends the reading.
"""

import io
import pickle
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.training.errors import ImportRefused

MOST_NUMBERS = 2**27
"""Most numbers of an array: a state of that size is of no environment."""


class Attributes:
    """What an object of one of the named classes holds, by name."""

    def __init__(self, *arguments: object, **named: object) -> None:
        """Drop the arguments: what counts comes as the state."""

    def __setstate__(self, state: object) -> None:
        """Keep the state's names and values."""
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.__dict__.update({str(name): value for name, value in part.items()})


class _Dtype:
    """A dtype of numbers, by its name; the state says the byte order."""

    def __init__(self, name: object = "", *_: object) -> None:
        self.dtype = np.dtype(str(name)) if str(name)[:1] in set("?biuf") else None

    def __setstate__(self, state: object) -> None:
        if self.dtype is not None and isinstance(state, tuple) and len(state) > 1 and state[1] in {"<", ">"}:
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array of numbers, made from its bytes."""

    def __init__(self, *_: object) -> None:
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) == 5:  # noqa: PLR2004 - version, shape, dtype, order, bytes
            _, shape, dtype, is_fortran, content = state
            self.array = _array(shape, dtype, "F" if is_fortran else "C", content)


def _array(shape: object, dtype: object, order: object, content: object) -> NDArray[Any] | None:
    """Array of its bytes; None where it is none of numbers, such as one of objects."""
    is_known = isinstance(dtype, _Dtype) and dtype.dtype is not None and isinstance(content, bytes)
    if not is_known or not isinstance(shape, tuple) or not all(isinstance(extent, int) for extent in shape):
        return None
    if prod(shape) > MOST_NUMBERS:
        return None
    flat: NDArray[Any] = np.frombuffer(content, dtype.dtype)  # type: ignore[attr-defined, call-overload]
    return flat.reshape(shape, order="F" if order == "F" else "C").copy()


def _scalar(dtype: object, content: object = b"") -> object:
    array = _array((1,), dtype, "C", content)
    return None if array is None else array[0]


def _from_buffer(content: object, dtype: object, shape: object, order: object = "C") -> _Array:
    made = _Array()
    made.array = _array(shape, dtype, order, bytes(content) if isinstance(content, (bytes, bytearray)) else content)
    return made


_NUMPY = {"_reconstruct": _Array, "scalar": _scalar, "_frombuffer": _from_buffer}
_STAND_INS: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", name): _NUMPY[name] for core in ("core", "_core") for name in _NUMPY},
    **{(f"numpy.{core}.numeric", name): _NUMPY[name] for core in ("core", "_core") for name in _NUMPY},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): dict,
}
_MODULES = (
    "stable_baselines3.common.vec_env.",
    "stable_baselines3.common.running_mean_std",
    "gymnasium.spaces.",
    "gym.spaces.",
    "numpy.random.",
    "numpy.dtypes",
)
"""Modules whose classes a VecNormalize's state names; attributes are all that is kept of them."""


class _Inert(pickle.Unpickler):
    """An unpickler that knows stand-ins only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        is_dtype = module == "numpy" and name in {"float32", "float64", "uint8", "int8", "int32", "int64", "bool_"}
        if is_dtype or (module.startswith(_MODULES) and "." not in name):
            return Attributes
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"it refers to another file, {pid!r}")


def read_attributes(content: bytes, where: str, expected: str) -> dict[str, Any]:
    """Read the attributes of the one object in a pickle, running nothing; `expected` says what it should be.

    Raises:
        ImportRefused: it names anything but arrays and the known classes, or is damaged.
    """
    try:
        found = _Inert(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle raises whatever its instructions run into
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImportRefused(
            f"{where}: expected {expected}; it is not read, since {reason}: nothing of a pickle is run here"
        ) from error
    if not isinstance(found, Attributes):
        raise ImportRefused(f"{where}: expected {expected}, got a pickle of a {type(found).__name__}")
    return vars(found)


def array_of(value: object) -> NDArray[Any] | None:
    """Array that a stand-in holds, or a number as an array; None for anything else."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return np.asarray(value)
    return None
