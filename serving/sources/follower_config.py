"""What the service tells the process that follows a registry, and what imports nothing of that process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FollowerConfig:
    """What a follower follows, where it keeps versions, and how it signs its tags."""

    tracking_uri: str
    policies: tuple[str, ...]
    """Registered models to follow; empty for every one with the tag polserve.policy."""
    aliases: tuple[str, ...]
    poll_interval_s: float
    cache_dir: str
    max_artifact_bytes: int
    service: str
    is_signed: bool = False
    """Whether the signatures of versions are fetched, too."""
