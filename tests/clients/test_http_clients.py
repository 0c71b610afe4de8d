"""Triton's and KServe's clients, unmodified, and schemathesis, over HTTP."""

from pathlib import Path

from tests.support.compatibility import check_page, run_client
from tests.support.running import Running


def test_tritons_client_works_over_http_as_the_page_says(served: Running, triton_python: str, tmp_path: Path) -> None:
    rows = run_client([triton_python], "triton_http.py", served.http_url, cwd=tmp_path)
    check_page("tritonclient 2.73.0, HTTP", rows)


def test_kserves_rest_client_works_as_the_page_says(served: Running, kserve_python: str, tmp_path: Path) -> None:
    rows = run_client([kserve_python], "kserve_http.py", served.http_url, cwd=tmp_path)
    check_page("kserve 0.21.0, REST", rows)


def test_the_service_does_what_its_openapi_document_says(
    served: Running, schemathesis_python: str, tmp_path: Path
) -> None:
    rows = run_client([schemathesis_python], "openapi_document.py", served.http_url, cwd=tmp_path)
    check_page("schemathesis 4.32.0, /openapi.json", rows)
