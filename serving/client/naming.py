"""How a program names its calls, so that the service's logs and traces name them alike."""

import contextlib
from collections.abc import Iterator

from polserve.protos.shared.calls import REQUEST_ID_FORM
from polserve.serving.client.errors import InvalidArgument, described
from polserve.serving.client.request_ids import given_id


@contextlib.contextmanager
def request_id(text: str) -> Iterator[None]:
    """Give an id to the calls of a `with` block: the service logs and traces them by it, and errors have it.

    It holds for the thread or the task that entered the block, and for the streams of episodes that are opened in it.

    Args:
        text: 1 to 128 letters, digits and characters of `. _ ~ + / = : @ -`.

    Raises:
        InvalidArgument: it is not that.
    """
    if not isinstance(text, str) or not text.isascii() or not REQUEST_ID_FORM.fullmatch(text.encode()):
        raise InvalidArgument("request_id", "1 to 128 letters, digits or . _ ~ + / = : @ -", described(text))
    token = given_id.set(text)
    try:
        yield
    finally:
        given_id.reset(token)
