"""Calls that are traced: their handlers stay as they are, and so does what a call costs where nothing is traced."""

import time
from collections.abc import Sequence
from dataclasses import replace

from polserve.serving.handlers.passed import PassedCall
from polserve.serving.inference.inference import Inference
from polserve.serving.inference.runs import Run
from polserve.serving.methods import Call, CallCounter, Handler, Method
from polserve.serving.request_ids import RequestId
from polserve.serving.telemetry import CallTrace, ModelRun, Tracer

UNTRACED = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
"""Services whose calls are probes and look-ups of tools: nobody looks for them, and they are many."""


def traced(methods: Sequence[Method], tracer: Tracer | None, inference: Inference) -> list[Method]:
    """Return the methods with their calls traced; as they are without a tracer."""
    if tracer is None:
        return list(methods)
    return [method if method.service in UNTRACED else _traced(method, tracer, inference) for method in methods]


def _traced(method: Method, tracer: Tracer, inference: Inference) -> Method:
    counter = TracedCounter(method.counter)
    return replace(method, counter=counter, handler=TracedHandler(method, counter, tracer, inference))


class TracedCounter:
    """Counts calls, and keeps how the latest one ended."""

    def __init__(self, counter: CallCounter) -> None:
        self._counter = counter
        self.code = ""

    def begin(self) -> None:
        """Count a call that has begun."""
        self._counter.begin()

    def end(self, seconds: float, code: str) -> None:
        """Count a call that has ended with this status; the carrier has its handler close it next."""
        self.code = code
        self._counter.end(seconds, code)

    def refuse(self, reason: str) -> None:
        """Count a call that there was no room for."""
        self._counter.refuse(reason)

    def turn_away(self, n: int, reason: str, code: str) -> None:
        """Count calls that were refused before anything was kept of them."""
        self._counter.turn_away(n, reason, code)


class TracedCall(PassedCall):
    """A call that notes when its messages are answered."""

    def __init__(self, call: Call, inference: Inference, trace: CallTrace) -> None:
        super().__init__(call)
        self._inference = inference
        self.trace = trace

    def reply(self, response: bytes) -> None:
        """Send a message, and note which run of a model it came from."""
        self.trace.answered(_model_run(self._inference.run), time.perf_counter())
        self._call.reply(response)

    def fail(self, error: BaseException) -> None:
        """End the call with the status of an error."""
        self._call.fail(error)

    def finish(self) -> None:
        """End a stream with OK."""
        self._call.finish()

    def wait(self) -> None:
        """See to it that the call ends at its deadline."""
        self._call.wait()


class TracedHandler:
    """Has another handler answer calls, each of which is traced."""

    def __init__(self, method: Method, counter: TracedCounter, tracer: Tracer, inference: Inference) -> None:
        self._method = method
        self._handler: Handler = method.handler
        self._counter = counter
        self._tracer = tracer
        self._inference = inference
        self._open: dict[Call, TracedCall] = {}

    def open(self, call: Call) -> None:
        """Begin the trace of a call; raises what refuses it."""
        self._handler.open(self._begin(call))

    def handle(self, calls: Sequence[Call]) -> None:
        """Answer each call's message, now or later."""
        now = time.perf_counter()
        known = [self._open[call] for call in calls]
        for one in known:
            one.trace.asked(now)
        try:
            self._handler.handle(known)
        finally:
            self._inference.run = None

    def foresee(self, call: Call, beginning: bytes) -> None:
        """Take notice of how a call's message begins; raises what refuses it."""
        self._handler.foresee(self._open[call], beginning)

    def half_close(self, call: Call) -> None:
        """Take notice that the client will send no more on a stream."""
        self._handler.half_close(self._open[call])

    def close(self, call: Call) -> None:
        """Forget a call, and send its trace; one that was refused before it began has one, too."""
        one = self._open.get(call) or self._begin(call)
        del self._open[call]
        self._handler.close(one)
        one.trace.end(self._counter.code)

    def _begin(self, call: Call) -> TracedCall:
        trace = self._tracer.begin(self._method.service, self._method.name, call.request_id)
        if not call.request_id.is_known:
            call.request_id = RequestId(trace.trace_id)
        one = self._open[call] = TracedCall(call, self._inference, trace)
        return one


def _model_run(run: Run | None) -> ModelRun | None:
    return None if run is None else ModelRun(run.policy, run.version, run.started, run.seconds, run.n)
