"""The settings of `polserve serve` that say what is left behind of calls, for whoever looks for them later."""

from dataclasses import dataclass
from typing import Annotated

from polserve.serving.setting_forms import Shown


@dataclass(frozen=True, kw_only=True)
class TraceSettings:
    """Settings of the audit log."""

    audit_log: Annotated[str | None, Shown(default="none", expected="a file, or stderr")] = None
    """File for one JSON object a line about each rollout, refusal and denied call, or stderr; a file that is moved away
    is begun anew."""
