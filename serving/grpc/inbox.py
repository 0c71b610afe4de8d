"""Messages of a stream that wait, because those before them are not answered yet."""

from collections import deque

MAX_INBOX_BYTES = 64 * 1024
"""Most bytes of a stream's waiting messages, before its client is kept from sending."""


class Inbox:
    """The waiting messages of one stream, each as its flag and its pieces."""

    __slots__ = ("_messages", "_n_bytes")

    def __init__(self) -> None:
        self._messages: deque[tuple[int, list[bytes], int]] = deque()
        self._n_bytes = 0

    def __bool__(self) -> bool:
        """Whether a message waits."""
        return bool(self._messages)

    @property
    def is_full(self) -> bool:
        """Whether the client is to be kept from sending more."""
        return self._n_bytes > MAX_INBOX_BYTES

    def put(self, flag: int, pieces: list[bytes], size: int) -> None:
        """Keep a message of `size` bytes."""
        self._messages.append((flag, pieces, size))
        self._n_bytes += size

    def take(self) -> tuple[int, list[bytes], int]:
        """Take out the message that has waited longest: its flag, its pieces and its bytes."""
        message = self._messages.popleft()
        self._n_bytes -= message[2]
        return message
