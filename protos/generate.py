"""Generate the Python messages and stubs from the .proto files: `python -m polserve.protos.generate [FOLDER]`."""

import re
import sys
from importlib.resources import files
from pathlib import Path

SOURCES = Path(__file__).parent


def generate(target: Path) -> None:
    """Write `*_pb2.py`, `*_pb2.pyi` and `*_pb2_grpc.py` for every .proto file below `target`.

    The names on the wire stay `polserve/v1/...`; only the Python imports gain the prefix `polserve.protos.`.

    Raises:
        RuntimeError: protoc refused a file; its message is on standard error.
    """
    from grpc_tools import protoc

    sources = sorted(path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.proto"))
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={SOURCES}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            *sources,
        ]
    )
    if status != 0:
        raise RuntimeError(f"protoc exited with {status} on {', '.join(sources)}")
    for path in [*target.rglob("*_pb2*.py"), *target.rglob("*_pb2.pyi")]:
        text = path.read_text()
        path.write_text(re.sub(r"^from polserve\.", "from polserve.protos.polserve.", text, flags=re.MULTILINE))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES)
