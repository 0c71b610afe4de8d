"""grpc.health.v1.Health: what can be answered now, told when asked, and to watchers when it changes."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from grpc_health.v1 import health_pb2 as pb

from polserve.serving.access.callers import Caller
from polserve.serving.episodes import OpenStreams
from polserve.serving.errors import PolserveError, UnknownService
from polserve.serving.handlers.base import Each, Quiet
from polserve.serving.handlers.codec import parse_small
from polserve.serving.methods import Call

SERVICE = pb.DESCRIPTOR.services_by_name["Health"].full_name

_SERVING = pb.HealthCheckResponse.SERVING
_NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The state of the service, "", and of each policy by its name; used by the loop's thread."""

    def __init__(self) -> None:
        self._statuses: dict[str, pb.HealthCheckResponse.ServingStatus] = {"": _NOT_SERVING}
        self._watchers: dict[Call, str] = {}
        self._is_draining = False

    def set(self, policies: AbstractSet[str], *, is_ready: bool) -> None:
        """Note what is live, and tell the watchers."""
        if self._is_draining:
            return
        statuses = {"": _SERVING if is_ready else _NOT_SERVING, **dict.fromkeys(policies, _SERVING)}
        self._change(statuses)

    def drain(self) -> None:
        """Tell watchers that nothing more is answered here."""
        self._change(dict.fromkeys(self._statuses, _NOT_SERVING))
        self._is_draining = True

    @property
    def is_ready(self) -> bool:
        """Whether every required policy can answer."""
        return bool(self._statuses[""] == _SERVING)

    def status(self, service: str, caller: Caller) -> pb.HealthCheckResponse.ServingStatus:
        """Return the state of a service; SERVICE_UNKNOWN where it is none of ours, or the caller does not see it."""
        if not _sees(caller, service):
            return _UNKNOWN
        return self._statuses.get(service, _UNKNOWN)

    def statuses(self, caller: Caller) -> dict[str, pb.HealthCheckResponse.ServingStatus]:
        """Return the state of each service that the caller sees."""
        return {name: status for name, status in self._statuses.items() if _sees(caller, name)}

    def watch(self, call: Call, service: str) -> None:
        """Tell the call how the service is, now and whenever that changes."""
        self._watchers[call] = service
        call.reply(_response(self.status(service, call.caller)))

    def forget(self, call: Call) -> None:
        """Tell the call no more."""
        self._watchers.pop(call, None)

    def _change(self, statuses: dict[str, pb.HealthCheckResponse.ServingStatus]) -> None:
        before, self._statuses = self._statuses, statuses
        for call, service in list(self._watchers.items()):
            now = statuses.get(service, _UNKNOWN)
            if before.get(service, _UNKNOWN) != now and _sees(call.caller, service):
                call.reply(_response(now))


def check(health: Health) -> Each:
    """Make the handler of Check."""

    def answer(request: pb.HealthCheckRequest, caller: Caller) -> pb.HealthCheckResponse:
        status = health.status(request.service, caller)
        if status == _UNKNOWN:
            raise UnknownService(request.service)
        return pb.HealthCheckResponse(status=status)

    return Each(pb.HealthCheckRequest, answer)


def list_all(health: Health) -> Each:
    """Make the handler of List."""

    def answer(_request: pb.HealthListRequest, caller: Caller) -> pb.HealthListResponse:
        statuses = {name: pb.HealthCheckResponse(status=status) for name, status in health.statuses(caller).items()}
        return pb.HealthListResponse(statuses=statuses)

    return Each(pb.HealthListRequest, answer)


class Watch(Quiet):
    """The handler of Watch."""

    def __init__(self, health: Health, streams: OpenStreams) -> None:
        """`streams` ends those whose callers show what is valid no longer."""
        self._health = health
        self._streams = streams

    def open(self, call: Call) -> None:
        """Let a watcher begin."""
        self._streams.know(call)

    def handle(self, calls: Sequence[Call]) -> None:
        """Begin to watch."""
        for call in calls:
            try:
                request = parse_small(pb.HealthCheckRequest, call.message)
            except PolserveError as error:
                call.fail(error)
            else:
                self._health.watch(call, request.service)

    def half_close(self, call: Call) -> None:
        """Go on: a watcher says what it watches, and no more."""

    def close(self, call: Call) -> None:
        """Tell it no more."""
        self._health.forget(call)
        self._streams.close(call)


def _sees(caller: Caller, service: str) -> bool:
    """Whether a caller may know of a service: of "" everybody may."""
    return not service or caller.sees(service)


def _response(status: pb.HealthCheckResponse.ServingStatus) -> bytes:
    response: bytes = pb.HealthCheckResponse(status=status).SerializeToString()
    return response
