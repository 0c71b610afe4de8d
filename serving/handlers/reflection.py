"""Server reflection, by the well-kept package: it tells of the services that are offered, and of their messages."""

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default, DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb

from polserve.serving.episodes import OpenStreams
from polserve.serving.handlers.base import Quiet
from polserve.serving.handlers.codec import parse_small
from polserve.serving.methods import Call

SERVICE = pb.DESCRIPTOR.services_by_name["ServerReflection"].full_name


class Reflection(Quiet):
    """The handler of ServerReflectionInfo."""

    def __init__(self, services: Iterable[str], files: Iterable[FileDescriptorProto], streams: OpenStreams) -> None:
        """Offer reflection.

        Args:
            services: told to whoever lists them.
            files: describe those that this process has by other names.
            streams: ends those whose callers show what is valid no longer.
        """
        self._streams = streams
        self._services = tuple(services)
        self._files = tuple(files)
        self._servicer: Any = None

    def open(self, call: Call) -> None:
        """Let a stream begin."""
        self._streams.know(call)

    def close(self, call: Call) -> None:
        """Forget a stream."""
        self._streams.close(call)

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

            self._servicer = reflection.ReflectionServicer(self._services, pool=make_pool(self._services, self._files))
        return self._servicer


def make_pool(services: Iterable[str], files: Iterable[FileDescriptorProto]) -> DescriptorPool:
    """Make a pool of the messages of services: of `files`, and of those that this process has loaded."""
    pool = DescriptorPool()
    for file in files:
        pool.Add(file)
    public = {f"{file.package}.{service.name}" for file in files for service in file.service}
    added: set[str] = set()
    for service in services:
        if service not in public:
            _add(pool, Default().FindFileContainingSymbol(service), added)
    return pool


def _add(pool: DescriptorPool, file: FileDescriptor, added: set[str]) -> None:
    """Add a file after those that it imports."""
    if file.name not in added:
        added.add(file.name)
        for imported in file.dependencies:
            _add(pool, imported, added)
        pool.AddSerializedFile(file.serialized_pb)
