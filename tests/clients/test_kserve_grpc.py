"""KServe's client, unmodified, over gRPC."""

from pathlib import Path

from tests.support.compatibility import check_page, run_client
from tests.support.running import Running


def test_kserves_client_works_over_grpc_as_the_page_says(served: Running, kserve_python: str, tmp_path: Path) -> None:
    rows = run_client([kserve_python], "kserve_grpc.py", served.target, cwd=tmp_path)
    check_page("kserve 0.21.0, gRPC", rows)
