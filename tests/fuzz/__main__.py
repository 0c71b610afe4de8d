"""Fuzz a target by coverage, with atheris: `make fuzz`, or `python -m tests.fuzz TARGET [options of libFuzzer]`.

What breaks a target is written to tests/fuzz/cases/TARGET/, where the tests try it from then on.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["polserve"]):
    from tests.fuzz.calls import call_targets
    from tests.fuzz.readers import reader_targets

CASES = Path(__file__).with_name("cases")
CORPUS = Path(__file__).resolve().parents[2] / ".fuzz"
"""Where what widens the coverage is kept from one run to the next."""


def main() -> None:
    """Fuzz the target that the command line names."""
    targets = {**call_targets(), **reader_targets()}
    if sys.argv[1:] == ["--list"]:
        sys.stdout.write(" ".join(sorted(targets)) + "\n")
        return
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        sys.exit(f"TARGET: expected one of {', '.join(sorted(targets))}, got {' '.join(sys.argv[1:2]) or 'none'}")
    name = sys.argv[1]
    seeds, cases = CORPUS / name, CASES / name
    for folder in (seeds, cases):
        folder.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(targets[name].seeds):
        (seeds / f"seed-{i}").write_bytes(seed)
    options = [f"-artifact_prefix={cases}/", "-max_len=4096", *sys.argv[2:], str(seeds)]
    atheris.Setup([sys.argv[0], *options], targets[name].run)
    atheris.Fuzz()


main()
