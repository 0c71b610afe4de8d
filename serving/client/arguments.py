"""The arguments of a client that are no arrays: each is taken with one meaning, or refused by name."""

import math
import operator
import re
from collections.abc import Mapping
from typing import SupportsFloat, SupportsIndex, TypeAlias

import numpy as np

from polserve.protos.shared.calls import MAX_REWARD
from polserve.protos.shared.names import POLICY_NAME
from polserve.serving.client.errors import InvalidArgument, described

Version: TypeAlias = str | SupportsIndex | None
"""Which version of a policy: "" or None for the champion, 7 or "7" for that version, "@challenger" for that alias."""

MOST_TIMEOUT_S = 86_400.0
MOST_CONNECTIONS = 1024
DEFAULT_TIMEOUT_S = 10.0

_NAME = "a policy's name, such as 'cartpole', 'cartpole/1' or 'cartpole@champion'"
_ALIAS = re.compile(r"@[^\s@/]+", re.ASCII)
_VERSION = "'' or None for the champion, a number such as 7, or an alias such as '@challenger'"


def name_and_version(policy: str, version: Version) -> tuple[str, str]:
    """Return the name and the version of a call, as the service takes them.

    Args:
        policy: POLICY, POLICY/VERSION or POLICY@ALIAS.
        version: as `Version` says; not given where `policy` names one.

    Raises:
        InvalidArgument: one of them is none, or there are two versions.
    """
    number = version_text(version)
    if not isinstance(policy, str):
        raise InvalidArgument("policy", _NAME, described(policy))
    if POLICY_NAME.fullmatch(policy):
        return str(policy), number
    name, slash, rest = policy.partition("/")
    if not slash:
        name, at, alias = policy.partition("@")
        rest = at + alias
    if not POLICY_NAME.fullmatch(name) or not rest:
        raise InvalidArgument("policy", _NAME, described(policy))
    if number:
        raise InvalidArgument("version", f"none beside the policy {str(policy)!r}, which names one", described(version))
    try:
        return name, version_text(rest)
    except InvalidArgument as error:
        raise InvalidArgument("policy", _NAME, described(policy)) from error


def version_text(version: Version) -> str:
    """Return a version as the service takes it.

    Raises:
        InvalidArgument: it is none.
    """
    if version is None:
        return ""
    if isinstance(version, str):
        is_number = version.isascii() and version.isdecimal()
        if not version or is_number or _ALIAS.fullmatch(version):
            return str(version)
    else:
        number = _index(version)
        if number is not None and number >= 0:
            return str(number)
    raise InvalidArgument("version", _VERSION, described(version))


def policy_name(policy: str) -> str:
    """Return the name of a policy, without a version.

    Raises:
        InvalidArgument: it is none.
    """
    if not isinstance(policy, str) or not POLICY_NAME.fullmatch(policy):
        raise InvalidArgument("policy", "a policy's name, such as 'cartpole'", described(policy))
    return str(policy)


def check_begun(*, is_playing: bool) -> None:
    """Return if there is an episode that can end; raises InvalidArgument."""
    if not is_playing:
        raise InvalidArgument("end", "an action before it, which begins an episode", "none since the last end")


def flag(argument: str, value: bool) -> bool:  # noqa: FBT001 - what it checks
    """Return True or False from what stands for it: a truth value of Python or numpy, 0 or 1.

    Raises:
        InvalidArgument: it is neither.
    """
    if value is True or value is False:
        return value
    if isinstance(value, (int, np.integer, np.bool_)) and value in (0, 1):
        return bool(value)
    raise InvalidArgument(argument, "True or False", described(value))


def probability(argument: str, value: SupportsFloat) -> float:
    """Return a probability as a float.

    Raises:
        InvalidArgument: it is none.
    """
    number = None if isinstance(value, (bool, np.bool_)) else number_of(value)
    if number is None or not 0 <= number <= 1:
        raise InvalidArgument(argument, "a probability from 0 to 1", described(value))
    return number


def reward_of(value: SupportsFloat | None) -> float | None:
    """Return a reward as a float; None where there is none.

    Raises:
        InvalidArgument: it is no finite number, or one that no float32 holds.
    """
    if value is None:
        return None
    number = number_of(value)
    if number is None or not math.isfinite(number):
        raise InvalidArgument("reward", "a finite number, or None", described(value))
    if abs(number) > MAX_REWARD:
        raise InvalidArgument("reward", f"a number of at most {MAX_REWARD:.2g}", described(value))
    return number


def state_of(value: bytes | None) -> bytes:
    """Return a recurrent policy's state as a request holds it; nothing at the start of an episode.

    Raises:
        InvalidArgument: it is not what an answer gave.
    """
    if value is None or isinstance(value, bytes):
        return value or b""
    raise InvalidArgument("state", "the state of the answer before, or None", described(value))


def timeout_of(value: SupportsFloat) -> float:
    """Return the seconds that a call may take.

    Raises:
        InvalidArgument: they are no number above 0, or more than a day.
    """
    number = number_of(value)
    if number is None or not 0 < number <= MOST_TIMEOUT_S:
        raise InvalidArgument("timeout_s", f"seconds above 0, at most {MOST_TIMEOUT_S:g}", described(value))
    return number


def connections_of(value: SupportsIndex) -> int:
    """Return the number of connections that a client keeps.

    Raises:
        InvalidArgument: they are none, or absurdly many.
    """
    return whole("connections", value, 1, MOST_CONNECTIONS)


def options_of(value: Mapping[str, int | str] | None) -> dict[str, int | str]:
    """Return channel arguments of gRPC, checked.

    Raises:
        InvalidArgument: they are no mapping of names to whole numbers or text.
    """
    if value is None:
        return {}
    expected = "a mapping of gRPC channel arguments to whole numbers or text, such as {'grpc.enable_retries': 0}"
    if not isinstance(value, Mapping):
        raise InvalidArgument("options", expected, described(value))
    for name, setting in value.items():
        if not isinstance(name, str) or not isinstance(setting, (int, str)):
            raise InvalidArgument("options", expected, f"{described(name)}: {described(setting)}")
    return dict(value)


def whole(argument: str, value: SupportsIndex, low: int, high: int) -> int:
    """Return a whole number of Python or numpy as an int, within bounds.

    Raises:
        InvalidArgument: it is none; floats are not taken, nor True and False.
    """
    number = _index(value)
    if number is None or not low <= number <= high:
        raise InvalidArgument(argument, f"a whole number from {low} to {high}", described(value))
    return number


def is_text(value: object) -> bool:
    """Whether a value is text that a message can hold: a string without halves of characters."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def number_of(value: object) -> float | None:
    """Return a single real number as a float, from Python, numpy or a tensor without axes; None if it is none."""
    if type(value) is float:  # what nearly everybody passes
        return value
    if isinstance(value, (str, bytes, bytearray, complex, np.complexfloating)) or getattr(value, "shape", ()) != ():
        return None
    try:
        return float(value)  # type: ignore[arg-type] # asked, not assumed
    except Exception:  # noqa: BLE001 - whatever a foreign type raises, it is no number
        return None


def _index(value: object) -> int | None:
    if isinstance(value, (bool, np.bool_)) or getattr(value, "shape", ()) != ():
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type] # asked, not assumed
    except Exception:  # noqa: BLE001 - whatever a foreign type raises, it is no whole number
        return None
