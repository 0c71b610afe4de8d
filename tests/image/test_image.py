"""The image, built and run for real, hardened as one would run it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from packaging.utils import canonicalize_name

from deploy import image_bill
from polserve.serving.client import ClientError, PolicyClient
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from tests.support.running import ROOT, free_port, page, wait_until
from tests.support.versions import make_version

ENGINE = os.environ.get("POLSERVE_TEST_ENGINE", "")
BASE = os.environ.get("POLSERVE_TEST_BASE", "")

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        not (ENGINE and BASE and shutil.which(ENGINE)),
        reason="needs an image engine and a base: set POLSERVE_TEST_ENGINE and POLSERVE_TEST_BASE as .ci/run does",
    ),
    pytest.mark.timeout(600),
]


def engine(*arguments: str) -> str:
    result = subprocess.run([ENGINE, *arguments], check=False, capture_output=True, text=True)
    assert result.returncode == 0, f"{ENGINE} {' '.join(arguments)}: {result.stderr[-3000:]}"
    return result.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image built from the Dockerfile, with this machine's way to its package index as build secrets."""
    secret = tmp_path_factory.mktemp("secret") / "pip.conf"
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = dict(line.split("=", 1) for line in listed.stdout.splitlines() if "=" in line)
    wanted = ("index-url", "cert", "proxy", "trusted-host", "timeout", "default-timeout")
    lines = {name.split(".")[-1]: value.strip("'") for name, value in settings.items() if name.split(".")[-1] in wanted}
    secret.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    options = ["--format", "docker"] if ENGINE == "podman" else []
    secrets = ["--secret", f"id=pipconf,src={secret}", "--secret", "id=ca,src=/etc/ssl/certs/ca-certificates.crt"]
    engine("build", *options, "--build-arg", f"BASE={BASE}", *secrets, "-t", "localhost/polserve:test", str(ROOT))
    return "localhost/polserve:test"


@pytest.fixture(scope="module")
def container(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, int]]:
    """A hardened container of the image, whose shells are gone: its id, gRPC port and HTTP port."""
    nothing = tmp_path_factory.mktemp("nothing") / "shell"
    nothing.touch()
    shells = [option for name in ("dash", "bash") for option in ("-v", f"{nothing}:/usr/bin/{name}:ro")]
    grpc_port, http_port = free_port(), free_port()
    identifier = engine(
        *("run", "-d", "-p", f"127.0.0.1:{grpc_port}:50051", "-p", f"127.0.0.1:{http_port}:8080"),
        *("--read-only", "--cap-drop=ALL", "--security-opt", "no-new-privileges", "--memory", "512m"),
        *("--pids-limit", "128", *shells, image),
    )
    yield identifier, grpc_port, http_port
    subprocess.run([ENGINE, "rm", "-f", "-v", identifier], check=False, capture_output=True)


def inside(container: tuple[str, int, int], code: str) -> str:
    return engine("exec", container[0], "python", "-c", code)


def test_the_container_answers_with_the_bundled_policy(container: tuple[str, int, int]) -> None:
    _, grpc_port, http_port = container
    wait_until(lambda: page(f"http://127.0.0.1:{http_port}/readyz")[0] == 200)
    with PolicyClient(f"127.0.0.1:{grpc_port}") as client:
        assert client.act("cartpole", [0, 0, 0, 0]).action in (0, 1)
    assert "polserve_build_info" in page(f"http://127.0.0.1:{http_port}/metrics")[1]


def test_it_runs_as_nobody_and_holds_the_serving_side_only(container: tuple[str, int, int]) -> None:
    assert inside(container, "import os; print(os.getuid(), os.getgid())") == "65532 65532"
    names = ["torch", "gymnasium", "onnx", "sqlalchemy", "training", "ale_py", "pip"]
    code = f"import importlib.util, json; print(json.dumps([n for n in {names} if importlib.util.find_spec(n)]))"
    assert json.loads(inside(container, code)) == []


def test_it_has_no_capabilities_and_needs_no_shell(container: tuple[str, int, int]) -> None:
    status = inside(container, "print(open('/proc/1/status').read())")
    assert len(re.findall(r"^Cap(?:Prm|Eff|Bnd|Amb):\t0+$", status, re.MULTILINE)) == 4
    assert "NoNewPrivs:\t1" in status
    shell = subprocess.run([ENGINE, "exec", container[0], "sh", "-c", "true"], check=False, capture_output=True)
    assert shell.returncode != 0


def test_every_package_in_it_is_one_of_those_that_are_pinned(container: tuple[str, int, int]) -> None:
    code = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found = {canonicalize_name(name): version for name, version in json.loads(inside(container, code)).items()}
    text = (ROOT / "deploy" / "requirements.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    assert {name: number for name, number in found.items() if name != "polserve"} == pinned


def test_its_bill_of_materials_has_every_package_of_debian(image: str, container: tuple[str, int, int]) -> None:
    listed = engine("exec", container[0], "dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Status}\\n")
    installed = dict(line.split()[:2] for line in listed.splitlines() if line.endswith(" installed"))
    components = image_bill.read_image(ENGINE, image)
    packages = {one["name"]: one["version"] for one in components if one.get("purl", "").startswith("pkg:deb/debian/")}
    assert packages == installed
    assert {"libc6", "openssl"} <= packages.keys()
    assert [one["name"] for one in components if one["type"] == "operating-system"] == ["debian"]


def test_its_cache_is_writable_and_nothing_else_is(container: tuple[str, int, int]) -> None:
    assert inside(container, "open('/var/cache/polserve/probe', 'w').write('x'); print('ok')") == "ok"
    result = subprocess.run(
        [ENGINE, "exec", container[0], "python", "-c", "open('/opt/polserve/probe', 'w')"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Error" in result.stderr


def test_its_health_check_passes(container: tuple[str, int, int]) -> None:
    details = json.loads(engine("image", "inspect", "localhost/polserve:test"))[0]
    test = (details.get("Healthcheck") or details["Config"]["Healthcheck"])["Test"]  # podman's place, docker's place
    assert test[0] == "CMD"
    assert engine("exec", container[0], *test[1:]) == ""
    proxies = [f"--env={name}=http://127.0.0.1:9" for name in ("HTTP_PROXY", "http_proxy")]
    assert engine("exec", *proxies, container[0], *test[1:]) == "", "no proxy stands before the service"


@pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use
def test_it_follows_a_registry_with_mlflow_skinny_alone(
    image: str, mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    client = connect()
    with TrackedRun.start(client, "tests", "image", {}) as run:
        PolicyRegistry(client).register(make_version(name="in-a-container"), run.run_id)
    grpc_port, http_port = free_port(), free_port()
    settings = {
        "MLFLOW_TRACKING_URI": mlflow_url,
        "POLSERVE_GRPC_PORT": str(grpc_port),
        "POLSERVE_HTTP_PORT": str(http_port),
        "POLSERVE_HOST": "127.0.0.1",
    }
    options = [option for name, value in settings.items() for option in ("-e", f"{name}={value}")]
    identifier = engine("run", "-d", "--network", "host", "--read-only", "--cap-drop=ALL", *options, image)
    try:
        wait_until(lambda: page(f"http://127.0.0.1:{http_port}/readyz")[0] == 200)
        with PolicyClient(f"127.0.0.1:{grpc_port}") as policy_client:
            assert policy_client.act("in-a-container", [0, 0, 0, 0]).version == "1"
    finally:
        subprocess.run([ENGINE, "rm", "-f", "-v", identifier], check=False, capture_output=True)


def test_it_stops_within_ten_seconds_with_exit_code_0(container: tuple[str, int, int]) -> None:
    identifier, grpc_port, _ = container
    engine("stop", "-t", "10", identifier)  # which kills what has not ended by then
    assert engine("inspect", "-f", "{{.State.ExitCode}}", identifier) == "0"
    with PolicyClient(f"127.0.0.1:{grpc_port}", timeout_s=2) as client, pytest.raises(ClientError):
        client.policies()
