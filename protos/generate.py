"""Generate the Python messages and stubs from the .proto files: `python -m polserve.protos.generate [FOLDER]`."""

import re
import sys
from importlib.resources import files
from pathlib import Path

SOURCES = Path(__file__).parent


def generate(target: Path) -> None:
    """Write `*_pb2.py` and `*_pb2.pyi` for every .proto file below `target`, and `*_pb2_grpc.py` for those of our own.

    The names on the wire stay `polserve/v1/...`; only the Python imports gain the prefix `polserve.protos.`. The Open
    Inference Protocol has no stubs: they would call it by the name of our package, under which nothing answers.

    Raises:
        RuntimeError: protoc refused a file; its message is on standard error.
    """
    from grpc_tools import protoc

    sources = sorted(path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.proto"))
    ours = [source for source in sources if source.startswith("polserve/v1/")]
    paths = (f"--proto_path={SOURCES}", f"--proto_path={files('grpc_tools') / '_proto'}")
    for options, wanted in (
        ((f"--python_out={target}", f"--pyi_out={target}"), sources),
        ((f"--grpc_python_out={target}",), ours),
    ):
        status = protoc.main(["protoc", *paths, *options, *wanted])
        if status != 0:
            raise RuntimeError(f"protoc exited with {status} on {', '.join(wanted)}")
    for path in [*target.rglob("*_pb2*.py"), *target.rglob("*_pb2.pyi")]:
        text = path.read_text()
        path.write_text(re.sub(r"^from polserve\.", "from polserve.protos.polserve.", text, flags=re.MULTILINE))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES)
