"""What client and service both know of calls: where they go by default, and what limits and hints they have."""

import re

DEFAULT_PORT = 50051
"""Port of the service."""
DEFAULT_TARGET = f"localhost:{DEFAULT_PORT}"
"""Address of a service on this machine."""
RETRY_HINT = "grpc-retry-pushback-ms"
"""Trailing metadata by which a service that is full says when to try again; gRPC's own retries obey it (gRFC A6)."""
REQUEST_ID = "x-request-id"
"""Metadata, and header of HTTP, by which a call and its answer are named."""
REQUEST_ID_FORM = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}")
"""What a request id may be: no space, comma, quote or backslash, so that logs and headers hold it as it is."""
MAX_REWARD = float.fromhex("0x1.fffffep+127")
"""Largest reward: that of float32, as in training. No sum of such is infinite, from which no metric would come back."""
MOST_SLOTS = 4096
"""Most slots of one stream of episodes."""
MOST_MICROS = 2**63 - 1
"""Largest amount of money of a call: what an int64 holds."""
