"""Fields of serialised messages, where making each anew would cost more than all the rest of a call.

Serialised messages that are joined are the message with the fields of both, so that a response is put together of
parts that are made once, and of bytes that the model gave.
"""

from functools import lru_cache

RAW_OUTPUT = 6
"""Number of `raw_output_contents` in ModelInferResponse."""
INFER_RESPONSE = 2
"""Number of `infer_response` in ModelStreamInferResponse."""
_LENGTH_DELIMITED = 2


@lru_cache(1024)
def field_head(number: int, n_bytes: int) -> bytes:
    """Return what stands before the n bytes of a field: its number (1 to 15) and their length."""
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(n_bytes)


def packed(serialized: bytes, number: int, n_bytes: int) -> bytes | None:
    """Return the n bytes of a packed field of fixed-size numbers; None where the message is anything else but that."""
    head = field_head(number, n_bytes)
    if len(serialized) != len(head) + n_bytes or not serialized.startswith(head):
        return None
    return serialized[len(head) :]


def _varint(n: int) -> bytes:
    """Serialise a whole number as protobuf does: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while n > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(n & 0x7F | 0x80)
        n >>= 7
    encoded.append(n)
    return bytes(encoded)
