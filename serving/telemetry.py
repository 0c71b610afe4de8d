"""Traces of calls by OpenTelemetry, sent over OTLP; the only module that imports its libraries, which are an extra.

A call is noted as it goes on, and made into spans when it has ended: all in the thread of the loop that answers calls.
"""

import os
import random
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from polserve.serving.errors import ConfigurationError
from polserve.serving.logs import Log, SparseLog
from polserve.serving.request_ids import RequestId
from polserve.serving.statuses import Code

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

MOST_STEPS = 100
"""Messages of a stream whose spans are sent; episodes go on for ever."""
CLOSE_S = 2.0
"""Time at the end of the process for spans that are still to be sent."""

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables that say where spans are sent to."""
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GRPC, _HTTP = "grpc", "http/protobuf"

_FAULTS = frozenset(
    (Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS)
)
"""Statuses that are the service's fault, by the conventions of OpenTelemetry."""

Tracing: TypeAlias = Literal["auto", "on", "off"]

log = Log()


class ModelRun(NamedTuple):
    """The run of a model that answered a message."""

    policy: str
    version: str
    started: float
    """When it began, by `time.perf_counter`."""
    seconds: float
    n: int
    """Observations in it, of all its callers."""


class Step(NamedTuple):
    """A message that was answered; moments by `time.perf_counter`."""

    asked: float
    """When the message had come."""
    run: ModelRun | None
    """None where no model was asked, or the answer was so large that another thread encoded it."""
    answered: float


class CallTrace:
    """What is noted of a call while it goes on."""

    __slots__ = ("_asked", "_began", "_steps", "_tracer", "n_steps", "name", "request_id", "trace_id")

    def __init__(self, tracer: "Tracer", name: tuple[str, str], request_id: RequestId, trace_id: str) -> None:
        self._tracer = tracer
        self.name = name
        self.request_id = request_id
        self.trace_id = trace_id
        """Id that its trace has where no caller began one."""
        self._began = self._asked = time.perf_counter()
        self._steps: list[Step] = []
        self.n_steps = 0

    def asked(self, now: float) -> None:
        """Note that a message has come to its handler."""
        self._asked = now

    def answered(self, run: ModelRun | None, now: float) -> None:
        """Note that a message is answered."""
        if self.n_steps < MOST_STEPS:
            self._steps.append(Step(self._asked, run, now))
        self.n_steps += 1

    def end(self, code: str) -> None:
        """Send the trace of the call, which has ended with this status."""
        self._tracer.send(self, self._began, self._steps, Code[code])


class Tracer:
    """Makes spans of calls, and sends them; used by one thread."""

    def __init__(self, provider: "TracerProvider", ids: "_Ids") -> None:
        self._provider = provider
        self._ids = ids
        self._tracer = provider.get_tracer("polserve")

    def begin(self, service: str, method: str, request_id: RequestId) -> CallTrace:
        """Begin the trace of a call."""
        return CallTrace(self, (service, method), request_id, f"{random.getrandbits(128) or 1:032x}")

    def send(self, trace: CallTrace, began: float, steps: list[Step], code: Code) -> None:
        """Make the spans of a call that has ended just now."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        offset = time.time_ns() - time.perf_counter_ns()
        self._ids.trace_id = int(trace.trace_id, 16)
        service, method = trace.name
        span = self._tracer.start_span(
            f"{service}/{method}",
            parent_context(trace.request_id.parent),
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
            start_time=_nanoseconds(began, offset),
        )
        if span.is_recording():
            span.set_attributes({"rpc.grpc.status_code": int(code), "polserve.request_id": str(trace.request_id)})
            if trace.n_steps > 1:
                span.set_attribute("polserve.messages", trace.n_steps)
            if code in _FAULTS:
                span.set_status(Status(StatusCode.ERROR, code.name))
            for number, step in enumerate(steps):
                self._send_step(span, step, number, offset)
        span.end(time.perf_counter_ns() + offset)

    def close(self) -> None:
        """Send what is still to be sent, for a while."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(CLOSE_S)

    def _send_step(self, span: "Span", step: Step, number: int, offset: int) -> None:
        """Make the spans of a message: its wait for the model, the model, and what came after."""
        from opentelemetry.trace import set_span_in_context

        run = step.run
        if run is None:
            return
        inside = set_span_in_context(span)
        ended = run.started + run.seconds
        common: dict[str, Any] = {"polserve.policy": run.policy, "polserve.version": run.version}
        if number:
            common["polserve.message"] = number
        of_run = {**common, "polserve.batch_size": run.n}
        parts = (
            ("queue", min(step.asked, run.started), run.started, common),
            ("model", run.started, ended, of_run),
            ("encode", ended, max(ended, step.answered), common),
        )
        for name, start, end, attributes in parts:
            part = self._tracer.start_span(name, inside, attributes=attributes, start_time=_nanoseconds(start, offset))
            part.end(_nanoseconds(end, offset))


def open_tracer(tracing: Tracing, service: str, environment: Mapping[str, str] | None = None) -> Tracer | None:
    """Return what traces calls, as OpenTelemetry's own variables say; None where nothing does.

    Args:
        tracing: whether to; auto where a variable says where spans are sent to.
        service: the service's name, where OTEL_SERVICE_NAME gives no other.
        environment: the variables; those of the process by default.

    Raises:
        ConfigurationError: it is on, and the extra is not installed, or a variable is not what it must be.
    """
    told = os.environ if environment is None else environment
    if tracing == "off" or (tracing == "auto" and not _is_wanted(told)):
        return None
    try:
        return _open(service, told)
    except ImportError as error:
        remedy = "install the extra, as by `pip install 'polserve[otel]'`"
        if tracing == "on":
            expected = f"tracing: expected OpenTelemetry's exporter of OTLP, got none ({error}); {remedy}"
            raise ConfigurationError(expected) from error
        log.warning("not_traced", error=str(error), remedy=remedy)
        return None


def _is_wanted(told: Mapping[str, str]) -> bool:
    """Whether the variables of OpenTelemetry say where spans are sent to, and not that none are."""
    is_off = told.get("OTEL_SDK_DISABLED", "").lower() == "true" or told.get("OTEL_TRACES_EXPORTER") == "none"
    return not is_off and any(told.get(name) for name in ENDPOINTS)


def _open(service: str, told: Mapping[str, str]) -> Tracer:
    """Make the tracer; raises ImportError where the extra is not installed, and ConfigurationError."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = _exporter(next((told[name] for name in PROTOCOLS if told.get(name)), _GRPC))
    _log_failures()
    named = (
        {}
        if told.get("OTEL_SERVICE_NAME") or "service.name=" in told.get("OTEL_RESOURCE_ATTRIBUTES", "")
        else {"service.name": service}
    )
    ids = _Ids()
    provider = TracerProvider(resource=Resource.create(named), id_generator=ids.generator(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracer(provider, ids)


def _exporter(protocol: str) -> Any:
    """Return what sends spans; raises ImportError and ConfigurationError."""
    if protocol == _GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if protocol == _HTTP:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter

        return trace_exporter.OTLPSpanExporter()
    raise ConfigurationError(f"{PROTOCOLS[1]}: expected {_GRPC} or {_HTTP}, got {protocol!r}")


class _Ids:
    """Ids of traces that nobody has begun: those that their calls have been told."""

    def __init__(self) -> None:
        self.trace_id = 0

    def generator(self) -> Any:
        """Return the generator that OpenTelemetry asks."""
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        ids = self

        class Generator(RandomIdGenerator):
            """Gives the next root span the id that was chosen for it."""

            def generate_trace_id(self) -> int:
                """Return that id."""
                return ids.trace_id

        return Generator()


def parent_context(parent: str | None) -> Any:
    """Return the context of a span that a caller began; an empty one without."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if parent is None:
        return Context()
    _, trace, span, flags = parent.split("-")[:4]
    context = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(context), Context())


def _nanoseconds(moment: float, offset: int) -> int:
    return round(moment * 1e9) + offset


def _log_failures() -> None:
    """Have OpenTelemetry say in our log, and not too often, what keeps spans from being sent."""
    import logging

    sparse = SparseLog("traces_not_sent")

    class Handler(logging.Handler):
        """Writes what OpenTelemetry logs into the log of the service."""

        def emit(self, record: logging.LogRecord) -> None:
            """Write a record."""
            sparse.write(error=record.getMessage().splitlines()[0])

    logger = logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [Handler(logging.WARNING)], False
