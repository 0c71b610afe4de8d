"""JSON web tokens for tests: an issuer with its keys, and a server that hands them out."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER = "https://issuer.example"
AUDIENCE = "polserve"


class Issuer:
    """Signs tokens."""

    def __init__(self, key_id: str = "first") -> None:
        self.key_id = key_id
        self.key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> dict[str, Any]:
        """The public key, as a JSON Web Key."""
        told = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**told, "kid": self.key_id, "use": "sig"}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a valid token, with changes; None takes one out."""
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "robot", "exp": time.time() + 60, "role": "act"}
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def token(self, **changes: Any) -> str:
        """A token, valid but for the changes."""
        return jwt.encode(self.claims(**changes), self.key, "ES256", {"kid": self.key_id})


def key_set(*issuers: Issuer) -> bytes:
    """The keys of issuers, as a JSON Web Key Set."""
    return json.dumps({"keys": [issuer.public for issuer in issuers]}).encode()


class KeyServer:
    """Hands out keys over HTTP, and counts how often it was asked."""

    def __init__(self, port: int, contents: bytes) -> None:
        self.url = f"http://127.0.0.1:{port}/keys"
        self.contents = contents
        self.n_asked = 0
        self.may_answer = threading.Event()
        """Set, unless a test wants those who ask to wait."""
        self.may_answer.set()


@contextlib.contextmanager
def key_server(contents: bytes) -> Iterator[KeyServer]:
    """A server of keys for as long as the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.n_asked += 1
            keys.may_answer.wait(30)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(keys.contents)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        keys = KeyServer(server.server_address[1], contents)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield keys
        server.shutdown()
