"""Traces over OTLP: what a receiver gets of a real service's calls."""

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import ClientError, PolicyClient, request_id
from polserve.serving.errors import ConfigurationError
from polserve.serving.telemetry import MOST_STEPS, open_tracer
from tests.support.otlp import Received, attributes, grpc_receiver, http_receiver
from tests.support.running import Running, environment, service, wait_until

OBSERVATION = [0.0, 0.0, 0.1, 0.5]
ACT = pb.ActRequest(policy="cartpole", observation=pb.Tensor(values=OBSERVATION)).SerializeToString()
SERVICE = "polserve.v1.PolicyService"
PARENT = "b7ad6b7169203331"

KINDS = {
    "nghttp2": (("--front", "nghttp2"), "grpc"),
    "grpcio": (("--front", "grpcio"), "grpc"),
    "two-processes": (("--workers", "2"), "http/protobuf"),
}


class Traced(NamedTuple):
    running: Running
    received: Received

    def trace(self, trace_id: str, name: str) -> tuple[Span, list[Span]]:
        """The span of a call, and those inside it, once they have come."""

        def is_there() -> bool:
            return any(span.name == name for span in self.received.spans(trace_id))

        wait_until(is_there, self.running.log)
        spans = self.received.spans(trace_id)
        (call,) = [span for span in spans if span.name == name]
        wait_until(lambda: len(self.received.spans(trace_id)) == len(spans), self.running.log)
        return call, sorted((s for s in spans if s is not call), key=lambda span: span.start_time_unix_nano)


@pytest.fixture(scope="module", params=sorted(KINDS))
def traced(
    request: pytest.FixtureRequest, policies: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Traced]:
    """A service of each kind that sends its traces to a receiver."""
    options, protocol = KINDS[request.param]
    folder = tmp_path_factory.mktemp("traced")
    with http_receiver() if protocol != "grpc" else grpc_receiver() as (endpoint, received):
        told = environment(
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_BSP_SCHEDULE_DELAY="50",
            OTEL_SERVICE_NAME="robots",
        )
        with service("--policies", str(policies), *options, folder=folder, env=told) as running:
            wait_until(running.is_up, running.log)
            yield Traced(running, received)


def call(traced: Traced, *metadata: tuple[str, str], message: bytes = ACT) -> dict[str, str]:
    """Make a call of Act; return the trailing metadata."""
    with grpc.insecure_channel(traced.running.target) as channel:
        ask: Any = channel.unary_unary(f"/{SERVICE}/Act")
        made = ask.future(message, timeout=20, metadata=metadata)
        return {key: str(value) for key, value in made.trailing_metadata()}


def parent(trace_id: str, flags: str = "01") -> tuple[str, str]:
    return "traceparent", f"00-{trace_id}-{PARENT}-{flags}"


def test_a_call_has_a_span_beneath_its_callers_with_the_queue_the_model_and_the_encoding(traced: Traced) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    call(traced, parent(trace_id), ("x-request-id", "order-4711"))
    span, parts = traced.trace(trace_id, f"{SERVICE}/Act")
    assert span.parent_span_id.hex() == PARENT
    assert span.kind == Span.SPAN_KIND_SERVER
    told = attributes(span)
    assert (told["rpc.system"], told["rpc.service"], told["rpc.method"]) == ("grpc", SERVICE, "Act")
    assert told["rpc.grpc.status_code"] == 0
    assert told["polserve.request_id"] == "order-4711"
    assert [part.name for part in parts] == ["queue", "model", "encode"]
    assert {part.parent_span_id for part in parts} == {span.span_id}
    assert attributes(parts[1])["polserve.policy"] == "cartpole"
    assert attributes(parts[1])["polserve.version"] == "1"
    assert attributes(parts[1])["polserve.batch_size"] == 1
    moments = [span.start_time_unix_nano]
    for part in parts:
        moments += [part.start_time_unix_nano, part.end_time_unix_nano]
    moments.append(span.end_time_unix_nano)
    assert moments == sorted(moments)
    assert abs(time.time_ns() - moments[0]) < 60e9
    assert traced.received.services() == {"robots"}


def test_a_call_without_a_trace_begins_one_whose_id_is_that_of_the_request(traced: Traced) -> None:
    trace_id = call(traced)["x-request-id"]
    assert len(trace_id) == 32
    span, _ = traced.trace(trace_id, f"{SERVICE}/Act")
    assert span.parent_span_id == b""


def test_a_caller_who_does_not_sample_is_not_traced(traced: Traced) -> None:
    unsampled, sampled = "1" * 32, "2" * 32
    call(traced, parent(unsampled, "00"))
    call(traced, parent(sampled))
    traced.trace(sampled, f"{SERVICE}/Act")
    assert traced.received.spans(unsampled) == []


def test_a_call_that_fails_has_its_status(traced: Traced) -> None:
    trace_id = call(traced, message=b"")["x-request-id"]
    span, parts = traced.trace(trace_id, f"{SERVICE}/Act")
    assert attributes(span)["rpc.grpc.status_code"] == 5
    assert parts == []


def test_an_episode_is_one_span_with_the_parts_of_its_first_steps(traced: Traced) -> None:
    n = MOST_STEPS + 20
    with PolicyClient(traced.running.target) as client, request_id("episode-7"), client.episode("cartpole") as episode:
        for _ in range(n):
            episode.act(OBSERVATION)
    name = f"{SERVICE}/Episode"

    def found() -> list[Span]:
        spans = [span for span in traced.received.spans() if span.name == name]
        return [span for span in spans if attributes(span).get("polserve.request_id") == "episode-7"]

    wait_until(lambda: bool(found()), traced.running.log)
    _, parts = traced.trace(found()[0].trace_id.hex(), name)
    assert attributes(found()[0])["polserve.messages"] == n
    assert [part.name for part in parts].count("model") == MOST_STEPS


def test_a_call_over_http_is_traced_too(traced: Traced) -> None:
    trace_id = "3" * 32
    body = json.dumps({"observation": OBSERVATION}).encode()
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{traced.running.http_url}/v1/policies/cartpole:act", body, dict([parent(trace_id)])
    )
    urllib.request.urlopen(request, timeout=20).close()  # noqa: S310 - likewise
    span, parts = traced.trace(trace_id, f"{SERVICE}/Act")
    assert span.parent_span_id.hex() == PARENT
    assert [part.name for part in parts] == ["queue", "model", "encode"]


def test_calls_side_by_side_and_batches_have_the_model_that_answered_them(traced: Traced) -> None:
    frames = np.zeros((3, 6, 8), np.uint8)
    with PolicyClient(traced.running.target) as client:
        client.act_batch("cartpole", np.zeros((20, 4), np.float32))
        with request_id("wrong"), pytest.raises(ClientError):
            client.act("frames", frames[0, 0])
        with contextlib.suppress(ClientError):
            client.policies()
    wait_until(lambda: any(s.name == f"{SERVICE}/ListPolicies" for s in traced.received.spans()), traced.running.log)
    (listing,) = [span for span in traced.received.spans() if span.name == f"{SERVICE}/ListPolicies"]
    assert [span for span in traced.received.spans() if span.parent_span_id == listing.span_id] == []
    assert 20 in [attributes(span).get("polserve.batch_size") for span in traced.received.spans()]


def test_health_checks_are_not_traced(traced: Traced) -> None:
    assert not [span for span in traced.received.spans() if "Health" in span.name]


def test_a_receiver_that_is_not_there_is_logged_and_holds_nobody_up(policies: Path, tmp_path: Path) -> None:
    told = environment(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_BSP_SCHEDULE_DELAY="50")
    told["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"
    with service("--policies", str(policies), folder=tmp_path, env=told) as running:
        wait_until(running.is_up, running.log)
        with PolicyClient(running.target) as client:
            assert client.act("cartpole", OBSERVATION).version == "1"
            wait_until(lambda: "event=traces_not_sent" in running.log.read_text(), running.log)
            assert client.act("cartpole", OBSERVATION).version == "1"
        running.process.terminate()
        assert running.process.wait(60) == 0


@pytest.mark.parametrize(
    ("tracing", "variables", "is_traced"),
    [
        ("auto", {}, False),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ("auto", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, True),
        ("off", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ("on", {}, True),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, False),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_made_where_somebody_takes_them(
    tracing: Any,
    variables: dict[str, str],
    is_traced: bool,  # noqa: FBT001 - a case
) -> None:
    tracer = open_tracer(tracing, "polserve", variables)
    assert (tracer is not None) is is_traced
    if tracer is not None:
        tracer.close()


def test_a_protocol_that_there_is_not_is_refused_by_its_variable() -> None:
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc or http/protobuf, got"):
        open_tracer("on", "polserve", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})
