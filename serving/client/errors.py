"""What a client raises.

ClientError                 the service refused a call or did not answer
+-- InvalidArgument         an argument is not what it must be; nothing was sent
"""

import reprlib
from typing import Any

import grpc
import numpy as np

from polserve.serving.client.request_ids import given_id, told_id

MOST_SHOWN = 80
"""Characters of a wrong argument that an error repeats."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = MOST_SHOWN


class ClientError(Exception):
    """The service refused a call or did not answer; `code` says how, and the `grpc.RpcError` is its `__cause__`."""

    is_user_error = True  # the command line prints it as one line

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        self._message = message
        self._given_id = given_id.get()
        is_named = self._given_id is None or self._given_id in message
        super().__init__(f"{code.name}: {message}" + ("" if is_named else f" (request {self._given_id})"))

    @property
    def request_id(self) -> str | None:
        """Id of the call in the service's logs and traces; None where neither side gave it one."""
        return told_id(self.__cause__) or self._given_id

    def __reduce__(self) -> tuple[type["ClientError"], tuple[Any, ...], dict[str, Any]]:
        return type(self), (self.code, self._message), {"_given_id": self.request_id}


class InvalidArgument(ClientError, ValueError):
    """An argument is not what it must be; nothing was sent."""

    exit_code = 2

    def __init__(self, argument: str, expected: str, got: str) -> None:
        super().__init__(grpc.StatusCode.INVALID_ARGUMENT, f"{argument}: expected {expected}, got {got}")
        self.argument = argument
        """Name of the argument."""
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        return f"{self.argument}: expected {self.expected}, got {self.got}"

    def __reduce__(self) -> tuple[type[ClientError], tuple[Any, ...], dict[str, Any]]:
        return type(self), (self.argument, self.expected, self.got), {}


def described(value: object) -> str:
    """Return a value as an error repeats it: short, on one line, with its type where it is no text."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    text = " ".join(_short.repr(value).split())
    if len(text) > MOST_SHOWN:
        text = f"{text[:MOST_SHOWN]}..."
    return text if value is None or type(value) is str else f"{text} ({type(value).__name__})"
