"""What client and service both know of calls: where they go by default, and what limits and hints they have."""

DEFAULT_PORT = 50051
"""Port of the service."""
DEFAULT_TARGET = f"localhost:{DEFAULT_PORT}"
"""Address of a service on this machine."""
RETRY_HINT = "grpc-retry-pushback-ms"
"""Trailing metadata by which a service that is full says when to try again; gRPC's own retries obey it (gRFC A6)."""
MOST_SLOTS = 4096
"""Most slots of one stream of episodes."""
MOST_MICROS = 2**63 - 1
"""Largest amount of money of a call: what an int64 holds."""
