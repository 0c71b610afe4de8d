"""Triton's client, unmodified, over gRPC."""

from pathlib import Path

from tests.support.compatibility import check_page, run_client
from tests.support.running import Running


def test_tritons_client_works_over_grpc_as_the_page_says(served: Running, triton_python: str, tmp_path: Path) -> None:
    rows = run_client([triton_python], "triton_grpc.py", served.target, cwd=tmp_path)
    check_page("tritonclient 2.73.0, gRPC", rows)
