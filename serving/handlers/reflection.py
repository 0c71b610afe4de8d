"""Server reflection, by the well-kept package: it knows every message that this process has loaded."""

from collections.abc import Iterable, Sequence
from typing import Any

from grpc_reflection.v1alpha import reflection_pb2 as pb

from polserve.serving.handlers.base import Quiet
from polserve.serving.handlers.codec import parse_small
from polserve.serving.rounds import Call

SERVICE = pb.DESCRIPTOR.services_by_name["ServerReflection"].full_name


class Reflection(Quiet):
    """The handler of ServerReflectionInfo."""

    def __init__(self, services: Iterable[str]) -> None:
        """`services` are told to whoever lists them."""
        self._services = tuple(services)
        self._servicer: Any = None

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer each request; the package's servicer gives one response for each."""
        for call in calls:
            try:
                request = parse_small(pb.ServerReflectionRequest, call.message)
                (response,) = self._answering().ServerReflectionInfo(iter([request]), None)
            except Exception as error:  # noqa: BLE001 - every error must become a status
                call.fail(error)
            else:
                call.reply(response.SerializeToString())

    def _answering(self) -> Any:
        if self._servicer is None:
            from grpc_reflection.v1alpha import reflection  # brings all of grpcio, which few processes need

            self._servicer = reflection.ReflectionServicer(self._services)
        return self._servicer
