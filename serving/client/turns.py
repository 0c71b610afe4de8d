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

    def end(self, by: object = None) -> None:
        """Let no further request be made, and say what has ended the stream, where that is not its caller's wish."""
        if self._over is None:
            self._over = "has ended" if by is None else f"was ended by {by}"

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
        if error is not None and not isinstance(error, Exception):  # its answer would be taken for the next one's
            self.end("a step that was interrupted")
        self._lock.release()


def stream_ended(how: str = "has ended") -> ClientError:
    """Return the error for a request after the end of its stream, with how that came."""
    return ClientError(grpc.StatusCode.CANCELLED, f"the stream {how}; open another one")
