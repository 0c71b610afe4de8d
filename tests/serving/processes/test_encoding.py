"""What one process writes, the other reads: nothing of a version is lost on the way."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from polserve.serving.processes.encoding import (
    decode,
    decode_accepted,
    decode_each,
    decode_ref,
    encode,
    encode_accepted,
    encode_each,
    encode_ref,
)
from polserve.serving.versions import AcceptedVersion, Pace, VersionRef

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
REFS = st.builds(
    VersionRef,
    policy=TEXTS,
    version=TEXTS,
    folder=st.builds(Path, st.sampled_from(["/cache", "/cache/a b", "policies/ä"])),
    sha256=TEXTS,
    stamp=TEXTS,
    problem=st.none() | TEXTS.filter(bool),
)
SECONDS = st.floats(0, 1e6)
ACCEPTED = st.builds(
    AcceptedVersion, ref=REFS, pace=st.builds(Pace, SECONDS, SECONDS, is_batched=st.booleans()), run_id=TEXTS
)


@given(REFS)
def test_a_version_reference_survives_the_pipe(ref: VersionRef) -> None:
    line = encode(encode_ref(ref))
    assert line.count("\n") == 1
    assert decode_ref(decode(line)) == ref


@given(st.dictionaries(TEXTS, st.dictionaries(TEXTS, ACCEPTED, max_size=2), max_size=2))
def test_what_is_live_survives_the_pipe_with_every_pace(live: dict[str, dict[str, AcceptedVersion]]) -> None:
    assert decode_each(decode(encode(encode_each(live, encode_accepted))), decode_accepted) == live


def test_a_reference_that_an_earlier_release_saved_is_read() -> None:
    saved = {"policy": "go", "version": "1", "sha256": "ab", "problem": "", "folder": "/cache/go/1"}
    assert decode_ref(saved) == VersionRef("go", "1", Path("/cache/go/1"), "ab")
