"""What a process and its children tell each other: JSON, one message a line."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from polserve.serving.versions import AcceptedVersion, ByAlias, Pace, VersionRef

T = TypeVar("T")

Message: TypeAlias = Mapping[str, Any]

NOTICE = "notice"
"""Key of what a child says without having been asked."""
REFUSAL = "refusal"
"""Key of the reason in a reply that refuses what was asked."""
BEAT = "beat"
"""Key of a message that says nothing but that its process is alive."""


def encode(message: Message) -> str:
    """Write a message as a line."""
    return json.dumps(message) + "\n"


def decode(line: str | bytes) -> Message:
    """Read the message that `encode` wrote; raises ValueError for half a line."""
    message: Message = json.loads(line)
    return message


def encode_ref(ref: VersionRef) -> Message:
    """Write a version reference as JSON."""
    return {**asdict(ref), "folder": str(ref.folder)}


def decode_ref(message: Message) -> VersionRef:
    """Read the version reference that `encode_ref` wrote; raises TypeError or KeyError where it is none."""
    return VersionRef(**{**message, "folder": Path(message["folder"]), "problem": message.get("problem") or None})


def encode_accepted(version: AcceptedVersion) -> Message:
    """Write an accepted version as JSON."""
    return {"ref": encode_ref(version.ref), "pace": asdict(version.pace), "run_id": version.run_id}


def decode_accepted(message: Message) -> AcceptedVersion:
    """Read the accepted version that `encode_accepted` wrote."""
    return AcceptedVersion(decode_ref(message["ref"]), Pace(**message["pace"]), message["run_id"])


def encode_each(named: ByAlias[T], encode_one: Callable[[T], Message]) -> Message:
    """Write what the aliases of policies name as JSON, each by `encode_one`."""
    return {policy: {alias: encode_one(one) for alias, one in aliases.items()} for policy, aliases in named.items()}


def decode_each(message: Message, decode_one: Callable[[Message], T]) -> ByAlias[T]:
    """Read what `encode_each` wrote, each by `decode_one`."""
    return {policy: {alias: decode_one(one) for alias, one in aliases.items()} for policy, aliases in message.items()}
