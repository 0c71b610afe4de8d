"""What a process and its children tell each other, as JSON lines: one request, one reply."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from polserve.serving.sources.source import Desired, VersionRef

Message: TypeAlias = Mapping[str, Any]


def encode(message: Message) -> str:
    """One line."""
    return json.dumps(message, default=str) + "\n"


def ref_message(ref: VersionRef) -> Message:
    """A reference as JSON."""
    return {
        "policy": ref.policy,
        "version": ref.version,
        "folder": str(ref.folder),
        "sha256": ref.sha256,
        "stamp": ref.stamp,
        "problem": ref.problem,
    }


def ref_of(message: Message) -> VersionRef:
    """The reference that `ref_message` made."""
    return VersionRef(**{**message, "folder": Path(message["folder"])})


def live_message(live: Desired) -> Message:
    """What is live as JSON."""
    return {name: {alias: ref_message(ref) for alias, ref in refs.items()} for name, refs in live.items()}


def live_of(message: Message) -> Desired:
    """What `live_message` made."""
    return {name: {alias: ref_of(ref) for alias, ref in refs.items()} for name, refs in message.items()}
