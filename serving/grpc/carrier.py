"""What the two fronts have in common, as the server sees them."""

from typing import Protocol


class Carrier(Protocol):
    """What brings calls to the handlers, and answers to their clients."""

    def bind(self, host: str, port: int) -> int:
        """Reserve the port, any where it is 0, and return it; raises PortInUse."""

    async def start(self) -> None:
        """Take calls."""

    async def drain(self) -> None:
        """Take no more calls, and return once those in hand are answered."""

    async def close(self) -> None:
        """End what is still in hand."""
