"""A request as endpoints see it: its body is read when it is asked for."""

from collections.abc import Callable, Mapping

from polserve.serving.access.callers import STRANGER
from polserve.serving.access.guard import Shown
from polserve.serving.calls import Asker
from polserve.serving.http.bodies import BodyReader
from polserve.serving.http.messages import Scope
from polserve.serving.request_ids import RequestId


class Request:
    """A request, as far as it has come."""

    __slots__ = ("_reader", "caller", "parameters", "request_id", "scope")

    def __init__(self, scope: Scope, reader: BodyReader, parameters: Mapping[str, str], request_id: RequestId) -> None:
        self.scope = scope
        self.request_id = request_id
        self._reader = reader
        self.parameters = parameters
        """Parts of the path that the route names."""
        self.caller = STRANGER
        """Who asks, once that is known."""

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header, the first of several, by its name in lower case; None without one."""
        for key, value in self.scope["headers"]:
            if key == name:
                return bytes(value)
        return None

    @property
    def asker(self) -> Asker:
        """Who makes the calls that answer this request."""
        return Asker(self.is_gone, self.shown)

    @property
    def shown(self) -> Shown:
        """What the client shows of who they are."""
        client = self.scope.get("client")
        certificate: tuple[str, ...] = self.scope["state"].get("certificate", ())
        address = "" if client is None else str(client[0])
        authorization = self.header(b"authorization") or b""
        return Shown(authorization, certificate, address, self.scope["path"], request_id=self.request_id)

    @property
    def is_gone(self) -> Callable[[], bool]:
        """What says whether the client has gone; may be asked by any thread."""
        found: Callable[[], bool] = self.scope["state"]["is_gone"]
        return found

    async def body(self, most: int) -> bytes:
        """Read the body, of at most so many bytes; a longer one is refused by its length, before it is read.

        Raises:
            HttpError, InvalidRequest, Overloaded: it cannot be taken, as `BodyReader.read` says.
            ClientGone: its end never came.
        """
        return await self._reader.read(most, self.header(b"content-length"), self.header(b"content-encoding"))
