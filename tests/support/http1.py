"""HTTP/1.1 by the byte, for what no client library would send."""

import socket


def send(port: int, data: bytes, *, until: bytes = b"", timeout_s: float = 20.0) -> bytes:
    """What a server on this port answers to the bytes: all of it until it closes, or until something comes in it."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
            if until and until in received:
                break
        return received


def status_of(received: bytes) -> int:
    """The status of the first answer."""
    return int(received.split(b" ", 2)[1])


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A request with a body, after which the connection ends."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "Connection: close", *headers, "", ""]).encode() + body
