import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polserve.serving.http2 import engine, wire


def test_nghttp2_works_on_this_machine() -> None:
    engine.self_test()


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_messages_come_out_as_they_went_in_wherever_they_were_cut(messages: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(map(wire.frame, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=20)))
    reader = wire.MessageReader(300)
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        got += [b"".join(pieces) for _, pieces in reader.feed(sent[start:end])]
    assert got == messages
    assert reader.is_between


def test_a_message_above_the_limit_is_refused_by_its_prefix() -> None:
    reader = wire.MessageReader(100)
    with pytest.raises(wire.TooLarge, match="expected at most 100 bytes, got 101"):
        reader.feed(b"\0" + (101).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 4e-3), (b"5u", 5e-6), (b"99999999n", 0.099999999)],
)
def test_a_timeout_is_read_in_its_unit(value: bytes, seconds: float) -> None:
    assert wire.parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", [b"", b"1", b"S", b"-1S", b"1.5S", b"123456789S", b"1s", b"1S ", "\N{ARABIC-INDIC DIGIT ONE}S".encode()]
)
def test_a_timeout_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(wire.WireError, match="grpc-timeout: expected at most 8 digits"):
        wire.parse_timeout(value)


@given(st.floats(0, 1e9))
def test_a_timeout_is_written_so_that_none_is_shorter(seconds: float) -> None:
    written = wire.format_timeout(seconds)
    assert len(written) <= 9
    assert seconds <= wire.parse_timeout(written) <= seconds * 1.00001 + 1e-6


@given(st.text())
def test_any_text_survives_percent_encoding(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    encoded = wire.percent_encode(text)
    assert all(0x20 <= byte < 0x7F for byte in encoded)
    assert wire.percent_decode(encoded) == text


def test_what_is_no_percent_encoding_stays_as_it_is() -> None:
    assert wire.percent_decode(b"100%, %zz") == "100%, %zz"


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_binary_metadata_are_read_with_or_without_padding_and_joined(values: list[bytes]) -> None:
    encoded = [wire.encode_binary(value) for value in values]
    assert all(b"=" not in value for value in encoded)
    assert wire.decode_binary(b",".join(encoded)) == values
    assert wire.decode_binary(b", ".join(value + b"=" * (-len(value) % 4) for value in encoded)) == values


def test_binary_metadata_that_are_no_base64_are_refused() -> None:
    with pytest.raises(wire.WireError, match="binary metadata: expected base64"):
        wire.decode_binary(b"a!b")


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_message_is_bounded_by_what_it_becomes(encoding: str, compress: "type") -> None:
    assert wire.decompress(compress(b"x" * 1000), encoding, 1000) == b"x" * 1000
    with pytest.raises(wire.TooLarge, match="at most 999 bytes when decompressed"):
        wire.decompress(compress(b"x" * 1000), encoding, 999)
    with pytest.raises(wire.WireError, match="it ends too soon"):
        wire.decompress(compress(b"x" * 1000)[:-1], encoding, 1000)
    with pytest.raises(wire.WireError, match=f"is no {encoding}"):
        wire.decompress(b"nothing of the kind", encoding, 1000)


def test_an_encoding_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(wire.UnknownEncoding, match="expected one of identity, deflate, gzip, got 'br'"):
        wire.decompress(b"", "br", 10)
