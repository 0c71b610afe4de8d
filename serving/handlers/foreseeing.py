"""What the first bytes of a request tell: whose observations it brings, before the rest of it has come."""

POLICY_TAG, VERSION_TAG = 0x0A, 0x12
"""What precedes the first two fields of ActRequest and of ModelInferRequest: the names of policy and version."""
LONGEST = 0x80
"""Length from which a name's length takes more than a byte."""


def leading_names(beginning: bytes) -> tuple[str, str] | None:
    """Read the names of policy and version where a request begins with them, as serialisers write it.

    Args:
        beginning: first bytes of a serialised ActRequest or ModelInferRequest, or all of it.

    Returns:
        Both names, the second one empty where the request names no version. None where it begins otherwise.
    """
    policy = _text(beginning, 0, POLICY_TAG)
    if not policy:
        return None
    end = 2 + len(policy)
    version = b"" if end >= len(beginning) or beginning[end] != VERSION_TAG else _text(beginning, end, VERSION_TAG)
    if version is None:
        return None
    try:
        return policy.decode(), version.decode()
    except UnicodeDecodeError:  # the decoder will say so
        return None


def _text(data: bytes, at: int, tag: int) -> bytes | None:
    """Return the bytes of the field that begins there with this tag; None for another one, or a part of one."""
    if len(data) < at + 2 or data[at] != tag or data[at + 1] >= LONGEST:
        return None
    end = at + 2 + data[at + 1]
    return data[at + 2 : end] if end <= len(data) else None
