"""Request ids over HTTP: every answer has one."""

import json
import urllib.error
import urllib.request

import pytest

from tests.support.running import Running

OBSERVATION = json.dumps({"observation": [0.0, 0.0, 0.1, 0.5]}).encode()
TRACE = "0af7651916cd43dd8448eb211c80319c"

PATHS = {
    "/livez": None,
    "/no/such/page": None,
    "/v1/policies": None,
    "/v1/policies/cartpole:act": OBSERVATION,
    "/v1/policies/cartpole:act?": b"{",
    "/v1/policies/nobody:act": OBSERVATION,
    "/v2/models/nobody": None,
}


def id_of(running: Running, path: str, **headers: str) -> str:
    """The id that an answer has."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(running.http_url + path, PATHS[path], named)  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - likewise
            return str(answer.headers["x-request-id"])
    except urllib.error.HTTPError as error:
        error.close()
        return str(error.headers["x-request-id"])


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_id_of_its_request(over_http: Running, path: str) -> None:
    assert id_of(over_http, path, X_Request_Id="order-4711") == "order-4711"
    assert id_of(over_http, path, traceparent=f"00-{TRACE}-b7ad6b7169203331-01") == TRACE
    made = id_of(over_http, path)
    assert len(made) == 16
    assert made != id_of(over_http, path)


def test_an_id_of_another_form_is_replaced(over_http: Running) -> None:
    assert len(id_of(over_http, "/livez", X_Request_Id="a b")) == 16
