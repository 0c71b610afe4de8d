"""Every example runs against a service, in its own language."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import ROOT, Running, environment, service, wait_until

pytestmark = pytest.mark.acceptance  # most need a language other than Python

EXAMPLES = ROOT / "examples"
GOCODE = Path("/usr/share/gocode")
"""Where Debian's packages have the sources of Go libraries."""
JARS = Path("/usr/share/java")
JAR_NAMES = (
    *("grpc-api", "grpc-context", "grpc-core", "grpc-netty", "grpc-protobuf", "grpc-protobuf-lite", "grpc-stub"),
    *("protobuf", "guava", "gson", "perfmark-api", "geronimo-annotation-1.3-spec"),
    *("netty-buffer", "netty-codec", "netty-codec-http", "netty-codec-http2", "netty-common", "netty-handler"),
    *("netty-resolver", "netty-transport", "netty-transport-native-unix-common"),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of the bundled policies that the examples ask for."""
    policies = ("--policy", "cartpole,adbudget")
    with service(*policies, folder=tmp_path_factory.mktemp("served")) as running:
        wait_until(running.is_up, running.log)
        yield running


def run(*command: str, cwd: Path, **changes: str) -> str:
    """Run a command to its end; return what it printed."""
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, timeout=300, env=environment(**changes)
    )
    assert result.returncode == 0, f"{' '.join(command)}: {result.stdout[-2000:]}{result.stderr[-3000:]}"
    return result.stdout


def needs(*programs: str, **files: Path) -> None:
    """Skip the test where a program or a file is missing; `.ci/run` installs all of them."""
    missing = [name for name in programs if shutil.which(name) is None]
    missing += [name for name, path in files.items() if not path.exists()]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.mark.parametrize(
    ("example", "printed"),
    [
        ("game_loop", "cartpole/1: return 500"),
        ("vector_environment", "games, mean return 500"),
        ("asyncio_app", "lean +0.10 rad: push right"),
        ("daily_budget", "kept back"),
    ],
)
def test_the_python_examples_run(served: Running, tmp_path: Path, example: str, printed: str) -> None:
    path = os.environ.get("PYTHONPATH", str(ROOT))
    assert printed in run(
        sys.executable, str(EXAMPLES / "python" / f"{example}.py"), served.target, cwd=tmp_path, PYTHONPATH=path
    )


def test_node_plays_cartpole_from_the_proto_alone(served: Running, tmp_path: Path) -> None:
    needs("node", "npm")
    for name in ("package.json", "cartpole.js"):
        shutil.copy(EXAMPLES / "node" / name, tmp_path)
    run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", cwd=tmp_path)
    printed = run("node", "cartpole.js", served.target, "1", cwd=tmp_path, POLSERVE_PROTOS=str(ROOT / "protos"))
    assert printed == "cartpole/1: 500 steps, return 500\n"


def test_go_plays_cartpole(served: Running, tmp_path: Path) -> None:
    library = GOCODE / "src" / "google.golang.org" / "grpc"
    needs("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc", grpc_go=library)
    source = tmp_path / "src" / "cartpole"
    source.mkdir(parents=True)
    shutil.copy(EXAMPLES / "go" / "main.go", source)
    named = [f"--{each}_opt=Mpolserve/v1/policy.proto=example.com/polserve/v1" for each in ("go", "go-grpc")]
    proto = "polserve/v1/policy.proto"
    run("protoc", f"-I{ROOT / 'protos'}", "--go_out=src", "--go-grpc_out=src", *named, proto, cwd=tmp_path)
    go = {"GO111MODULE": "off", "GOPATH": f"{tmp_path}:{GOCODE}", "GOFLAGS": "", "GOCACHE": str(tmp_path / "cache")}
    run("go", "build", "-o", str(tmp_path / "play"), ".", cwd=source, **go)
    assert run(str(tmp_path / "play"), served.target, cwd=tmp_path) == "cartpole/1: 500 steps, return 500\n"


def test_java_plays_cartpole(served: Running, tmp_path: Path) -> None:
    plugin = shutil.which("grpc_java_plugin") or ""
    needs("javac", "java", "protoc", "grpc_java_plugin", **{name: JARS / f"{name}.jar" for name in JAR_NAMES})
    proto = "polserve/v1/policy.proto"
    stubs = (f"--plugin=protoc-gen-grpc-java={plugin}", "--java_out=.", "--grpc-java_out=.")
    run("protoc", f"-I{ROOT / 'protos'}", *stubs, proto, cwd=tmp_path)
    jars = ":".join(str(JARS / f"{name}.jar") for name in JAR_NAMES)
    sources = [str(path) for path in tmp_path.rglob("*.java")]
    run(
        "javac",
        "-J-XX:TieredStopAtLevel=1",
        "-proc:none",
        "-cp",
        jars,
        "-d",
        "out",
        *sources,
        str(EXAMPLES / "java" / "CartPole.java"),
        cwd=tmp_path,
    )
    printed = run("java", "-cp", f"{tmp_path / 'out'}:{jars}", "CartPole", served.target, cwd=tmp_path)
    assert printed == "cartpole/1: 500 steps\n"
