"""Targets that read what strangers write: bodies, headers, tokens, specs, models and histories."""

import contextlib
import functools
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from google.protobuf import json_format

from polserve.protos.graphs.check import check_model
from polserve.protos.graphs.limits import GraphRefused
from polserve.protos.polserve.v1 import budget_pb2, policy_pb2
from polserve.protos.shared.layout import Layout, PartError
from polserve.serving.access.access_file import read_access_file, token_entry
from polserve.serving.access.callers import Role
from polserve.serving.access.guard import AccessRules, Guard, Shown
from polserve.serving.access.keys import parse_keys
from polserve.serving.access.web_tokens import WebTokenRules
from polserve.serving.errors import PolserveError
from polserve.serving.http.acting import lay_out, read_question
from polserve.serving.http.infer_messages import read_infer
from polserve.serving.http.message_json import read_message
from polserve.serving.http.strict_json import parse, parse_object
from polserve.serving.http2.wire import (
    MessageReader,
    WireError,
    decode_binary,
    decompress,
    format_timeout,
    parse_timeout,
    percent_decode,
    percent_encode,
)
from polserve.serving.policy import Policy
from polserve.serving.policy.memory import Memory
from polserve.serving.policy.observations import ObservationContract
from polserve.serving.request_ids import read_request_id
from polserve.serving.telemetry import parent_context
from polserve.training.errors import TrainingError
from polserve.training.imports.graphs.reading import read_graph
from polserve.training.imports.graphs.spec_file import form_of
from polserve.training.tasks.adbudget.history.history import read_history
from tests.fuzz.target import Fault, Target, no_faults
from tests.support.spaces import make_arm_version
from tests.support.versions import make_version
from tests.support.web_tokens import AUDIENCE, ISSUER, Issuer, key_set


def refusing(read: Callable[[bytes], object], *refusals: type[Exception]) -> Callable[[bytes], None]:
    """Return a target of what reads bytes, and may refuse them in these ways."""

    def run(data: bytes) -> None:
        with no_faults(), contextlib.suppress(*refusals):
            read(data)

    return run


@functools.cache
def scratch() -> Path:
    """A file for targets that read one."""
    return Path(tempfile.mkdtemp(prefix="polserve-fuzz-")) / "file"


def from_file(read: Callable[[Path], object], suffix: str = "") -> Callable[[bytes], object]:
    """Return what reads bytes by a function that reads a file."""

    def run(data: bytes) -> object:
        path = scratch().with_suffix(suffix)
        path.write_bytes(data)
        return read(path)

    return run


@functools.cache
def live() -> policy_pb2.LivePolicy:
    """A policy with observations in parts."""
    version = policy_pb2.LiveVersion(version="1", spec=make_arm_version().spec)
    return policy_pb2.LivePolicy(name="arm", versions=[version], default_version="1", aliases={"champion": "1"})


def read_act(data: bytes) -> None:
    """Read a body of `POST /v1/policies/NAME:act`."""
    asked = read_question("arm", data, lambda _policy, _version: np.dtype(np.float32))
    if asked.in_parts is not None:
        lay_out(asked, live())
    asked.request.SerializeToString()


def read_body_of_infer(data: bytes) -> None:
    """Read a body of `POST /v2/models/NAME/infer`; its first two bytes are the length of the JSON, 0 for all."""
    n_json = int.from_bytes(data[:2], "big")
    question = read_infer("cartpole", "", data[2:], b"%d" % n_json if n_json else None)
    question.message.SerializeToString()


def read_wire(data: bytes) -> None:
    """Read what stands in headers of gRPC, and messages."""
    text = percent_decode(data)
    if percent_decode(percent_encode(text)) != text:
        raise Fault(f"{text!r} is another text after it was sent")
    reader = MessageReader(1 << 16)
    kinds = (decode_binary, parse_timeout, reader.feed, functools.partial(decompress, encoding="gzip", limit=1 << 16))
    for read in kinds:
        try:
            read(data)
        except WireError:
            continue


def read_timeout(data: bytes) -> None:
    """Read a timeout, and write it as it would be passed on."""
    seconds = parse_timeout(data)
    if not 0 <= seconds < math.inf or parse_timeout(format_timeout(seconds)) < seconds * 0.999:
        raise Fault(f"a timeout of {seconds}")


def read_ids(data: bytes) -> None:
    """Read a request id and a traceparent, and begin a span beneath it."""
    given, _, parent = data.partition(b"\n")
    request_id = read_request_id({b"x-request-id": given, b"traceparent": parent})
    text = str(request_id)
    if not (text.isascii() and text.isprintable() and 0 < len(text) <= 128 and " " not in text):
        raise Fault(f"an id {text!r}")
    parent_context(request_id.parent)


@functools.cache
def guard() -> Guard:
    """A guard that takes tokens of both kinds."""
    path = scratch().with_name("access.toml")
    path.write_text(token_entry("robot", "polserve_known", "act", ["cart*"], None))
    keys = path.with_name("keys.json")
    keys.write_bytes(key_set(issuer()))
    return Guard(AccessRules(path, web_tokens=WebTokenRules(ISSUER, AUDIENCE), key_place=str(keys)))


@functools.cache
def issuer() -> Issuer:
    """Whoever signs web tokens."""
    return Issuer()


def read_token(data: bytes) -> None:
    """Admit a caller who shows this; whoever shows a changed token is let in by none."""
    told = {b"Bearer polserve_known", b"Bearer " + token().encode()}
    caller = guard().admit(Role.ACT, Shown(data, address=str(hash(data))))
    if data.strip() not in told and data.partition(b" ")[2].strip() not in {one.partition(b" ")[2] for one in told}:
        raise Fault(f"{caller.name} was let in by {data!r}")


@functools.cache
def token() -> str:
    """A web token that is valid."""
    return issuer().token()


def read_spec(data: bytes) -> None:
    """Read the spec in a model, as `json_format` does, and what is made of it."""
    spec = json_format.Parse(data.decode(errors="replace"), policy_pb2.PolicySpec(), ignore_unknown_fields=True)
    contract, _ = ObservationContract.of(spec.observation), Memory.of(spec)
    contract.check(np.zeros(contract.shape, contract.dtype)[None])


def read_parts(data: bytes) -> None:
    """Lay out an observation in parts."""
    layout = Layout.of(make_arm_version().spec.observation)
    if layout is None:
        raise Fault("the arm has no parts")
    layout.flatten(parse_object(data), lambda value, _field: np.asarray(value, np.float64), "observation")


@functools.cache
def reader_targets() -> dict[str, Target]:
    """Make the targets, by name."""
    user = (PolserveError, TrainingError)
    arm, model = make_arm_version(), make_version().model.SerializeToString()
    body = json.dumps(
        {"inputs": [{"name": "observation", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 0.0, 0.1, 0.5]}]}
    ).encode()
    binary = json.dumps(
        {
            "inputs": [
                {"name": "observation", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
            ]
        }
    ).encode()
    return {
        "act_body": Target(
            refusing(read_act, PolserveError),
            [b'{"observation": [0.0, 0.0, 0.1, 0.5], "version": "@champion", "epsilon": 0.5, "with_values": true}'],
        ),
        "infer_body": Target(
            refusing(read_body_of_infer, PolserveError),
            [b"\0\0" + body, len(binary).to_bytes(2, "big") + binary + bytes(16)],
        ),
        "allocate_body": Target(
            refusing(lambda data: read_message(parse(data), budget_pb2.AllocateRequest()), PolserveError),
            [b'{"policy": "adbudget", "horizon_days": 7, "channels": [{"name": "a", "cap_micros": 1}]}'],
        ),
        "wire": Target(read_wire, [b"5S", b"\0\0\0\0\3abc", b"a%20b", b"YWJj,YWJj"]),
        "timeout": Target(refusing(read_timeout, WireError), [b"5S", b"99999999H", b"1n"]),
        "request_ids": Target(
            read_ids, [b"order-4711\n00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"\n01-a-b-c-d"]
        ),
        "tokens": Target(
            refusing(read_token, PolserveError), [b"Bearer polserve_known", b"Bearer " + token().encode()]
        ),
        "keys": Target(refusing(parse_keys, *user, ValueError), [key_set(issuer())]),
        "access_file": Target(
            refusing(from_file(read_access_file, ".toml"), PolserveError),
            [token_entry("robot", "polserve_known", "act", ["cart*"], None).encode()],
        ),
        "spec": Target(
            refusing(read_spec, PolserveError, json_format.ParseError),
            [json_format.MessageToJson(one.spec).encode() for one in (arm, make_version())],
        ),
        "model": Target(refusing(check_model, GraphRefused), [model]),
        "loading": Target(refusing(lambda data: Policy.of_model("cartpole", "1", data), PolserveError), [model]),
        "import": Target(refusing(from_file(read_graph, ".onnx"), *user), [model]),
        "spec_file": Target(refusing(lambda data: form_of(parse(data), "spec.yaml"), *user), [b'{"observation": {}}']),
        "history": Target(refusing(from_file(read_history, ".csv"), *user), [HISTORY.encode()]),
        "parts": Target(
            refusing(read_parts, PolserveError, PartError, ValueError, TypeError),
            [b'{"joints": [0, 0], "gripper": 1}'],
        ),
    }


def _history() -> str:
    """A history of a hundred days."""
    rng = np.random.default_rng(0)
    days = np.datetime64("2026-01-01") + np.arange(100)
    spends = rng.uniform(100, 900, (100, 2)).round(2)
    rows = [f"{day},{one},{other},{round(2 * one + other, 2)}" for day, (one, other) in zip(days, spends, strict=True)]
    return "\n".join(["date,facebook_spend,instagram_spend,sales", *rows]) + "\n"


HISTORY = _history()
