"""One request of a stream at a time, and none after its end."""

import threading
from types import TracebackType

import grpc

from polserve.serving.client.errors import ClientError


class Turn:
    """Entered for each request of a stream; raises ClientError for a second one beside it, and after the end."""

    __slots__ = ("_lock", "_over")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over: str | None = None

    def end(self, error: ClientError | None = None) -> None:
        """Let no further request be made; `error` has ended the stream, if anything has."""
        if self._over is None:
            self._over = "" if error is None else f" by {error}"

    def __enter__(self) -> None:
        if self._over is not None:
            raise stream_ended(self._over)
        if not self._lock.acquire(blocking=False):
            raise ClientError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "another step of this episode is under way; wait for its answer, or open an episode for each thread "
                "and task",
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()


def stream_ended(by: str = "") -> ClientError:
    """Return the error for a request after the end of its stream, and `by` what that came."""
    return ClientError(grpc.StatusCode.CANCELLED, f"the stream has ended{by}; open another one")
