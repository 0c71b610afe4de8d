"""The settings of `polserve serve` that say what is left behind of calls, for whoever looks for them later."""

from dataclasses import dataclass
from typing import Annotated, Literal

from polserve.serving.settings.forms import Shown


@dataclass(frozen=True, kw_only=True)
class TraceSettings:
    """Settings of the audit log and of traces."""

    audit_log: Annotated[str | None, Shown(default="none", expected="a file, or stderr")] = None
    """File for one JSON object a line about each rollout, refusal and denied call, or stderr; a file that is moved away
    is begun anew."""
    tracing: Literal["auto", "on", "off"] = "auto"
    """Whether calls are traced by OpenTelemetry, which takes the extra polserve[otel]; auto does so where
    OTEL_EXPORTER_OTLP_ENDPOINT says where to."""
