"""What strangers' machines have set: proxies, other programs' variables, addresses of IPv6, folders not to write to."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polserve.protos.shared.packages import missing_package
from polserve.serving import addresses
from polserve.serving.client import PolicyClient
from polserve.serving.errors import ConfigurationError, PortInUse
from polserve.serving.http.healthcheck import address
from polserve.serving.http.server import HttpServer
from polserve.serving.processes.parent import ChildProcess
from polserve.serving.settings.settings import ignore_foreign_variables, load_settings
from tests.support.commands import polserve_here
from tests.support.running import Running, environment, service, wait_until
from tests.support.versions import make_version

OBSERVATION = make_version().golden["observation"][0]
DEAD_PROXY = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def health(running: Running, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The image's health check, beside a running service."""
    port = running.http_url.rpartition(":")[2]
    env = environment(**{"POLSERVE_HTTP_PORT": port, **variables})
    command = [sys.executable, "-m", "polserve.serving.http.healthcheck"]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=30)


def test_a_proxy_that_answers_nothing_changes_nothing_on_this_machine(policies: Path, tmp_path: Path) -> None:
    with service("--policies", str(policies), folder=tmp_path, env=environment(**DEAD_PROXY)) as running:
        wait_until(running.is_up, running.log)
        log = running.log.read_text()
        assert "front_unusable" not in log
        command = ("act", "cartpole", "--observation", "[0, 0, 0, 0]", "--target", running.target)
        result = polserve_here(*command, **DEAD_PROXY)
        assert result.returncode == 0, result.stderr
        assert health(running, **DEAD_PROXY).returncode == 0


@pytest.mark.parametrize(("host", "options"), [("::1", ()), ("[::1]", ("--workers", "2"))])
def test_the_service_listens_on_ipv6(policies: Path, tmp_path: Path, host: str, options: tuple[str, ...]) -> None:
    with service("--policies", str(policies), "--host", host, *options, folder=tmp_path, host="::1") as running:
        wait_until(running.is_up, running.log)
        with PolicyClient(running.target) as client:
            assert client.act("cartpole", OBSERVATION).version == "1"
        assert f"gRPC {running.target}" in running.log.read_text()
        assert health(running, POLSERVE_HOST=host).returncode == 0


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", "(Cannot assign requested address); --host takes an address of this machine"),
        ("no-such-host.invalid", "host: expected an address of this machine, such as 127.0.0.1"),
        ("a..b", "host: expected an address of this machine, such as 127.0.0.1"),
    ],
)
def test_a_host_that_is_not_this_machine_is_named_as_the_cause(host: str, message: str) -> None:
    with pytest.raises(PortInUse) as refusal:
        HttpServer(host, 0)
    assert message in str(refusal.value)


def test_a_taken_grpc_port_is_named_as_the_cause_whoever_has_it(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "PATIENCE_S", 0.0)  # that whole commands wait for it is tested with those
    port = int(running.target.rpartition(":")[2])
    told = rf"grpc-port: 127.0.0.1:{port} cannot be bound \(Address already in use\); another program"
    with pytest.raises(PortInUse, match=told):
        addresses.listen("grpc-port", "127.0.0.1", port, 1)
    with pytest.raises(PortInUse, match=told):
        addresses.reserve("127.0.0.1", port)


def test_one_port_for_both_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--http-port: expected another port than --grpc-port has, got 50051"):
        load_settings({"http_port": 50051})


def test_a_health_check_of_nonsense_says_so(running: Running) -> None:
    assert "http-port: expected a number" in health(running, POLSERVE_HTTP_PORT="http").stderr
    grpc_port = running.target.rpartition(":")[2]
    said = health(running, POLSERVE_HTTP_PORT=grpc_port).stderr
    assert f"http://127.0.0.1:{grpc_port}/readyz does not answer" in said or "this port speaks gRPC" in said


def test_an_empty_host_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--host: expected an address such as 127"):
        load_settings({"host": "[]"})


def test_variables_of_others_are_ignored_and_named(policies: Path, tmp_path: Path) -> None:
    foreign = {
        "PROMETHEUS_MULTIPROC_DIR": "/nonexistent",
        "prometheus_multiproc_dir": "/nonexistent",
        "POLSERVE_HTTP_PORT": "tcp://10.0.0.1:8080",  # as Kubernetes makes it of a Service
    }
    misspelt = {"POLSERVE_MAX_WAITS": "1"}
    with service("--policies", str(policies), folder=tmp_path, env=environment(**foreign, **misspelt)) as running:
        wait_until(running.is_up, running.log)
        assert "polserve_build_info" in running.metrics()
        log = running.log.read_text()
    for name in foreign:
        assert f"event=foreign_variable_ignored name={name}" in log
    assert "event=unknown_variable name=POLSERVE_MAX_WAITS near=POLSERVE_MAX_WAIT_S" in log


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"POLSERVE_HTTP_PORT": ""},
        {"POLSERVE_HTTP_PORT": " 9001 "},
        {"polserve_http_port": "9001"},
        {"POLSERVE_HTTP_PORT": "tcp://10.0.0.1:8080"},
        {"POLSERVE_HOST": ""},
        {"POLSERVE_HOST": "[::1]"},
        {"POLSERVE_HOST": "localhost", "POLSERVE_HTTP_PORT": "9001"},
    ],
)
def test_the_health_check_reads_the_address_as_the_service_does(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = address(dict(os.environ), [])
    ignore_foreign_variables()
    settings = load_settings({})
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    assert found == f"{host}:{settings.http_port}"


@pytest.mark.parametrize(
    ("variables", "arguments", "expected"),
    [
        ({"POLSERVE_HOST": "0.0.0.0"}, [], "127.0.0.1:8080"),  # noqa: S104 - as in the image
        ({"POLSERVE_HOST": "::"}, [], "[::1]:8080"),
        ({"POLSERVE_HTTP_PORT": "1"}, ["polserve", "serve", "--http-port", "9001"], "127.0.0.1:9001"),
        ({"POLSERVE_HTTP_PORT": "9001.0"}, [], "127.0.0.1:9001"),  # which `serve` takes, too
        ({}, ["/bin/tini", "--", "polserve", "serve", "--http-port=9001", "--host=::1", ""], "[::1]:9001"),
    ],
)
def test_the_health_check_finds_a_service_on_all_addresses_and_by_its_flags(
    variables: dict[str, str], arguments: list[str], expected: str
) -> None:
    assert address(variables, arguments) == expected


def test_the_health_check_says_why_a_service_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with service("--policies", str(tmp_path / "empty"), folder=tmp_path) as running:
        result = health(running)
    assert result.returncode == 1
    assert "no policy is live" in result.stderr


def test_a_cache_that_cannot_be_written_is_named_in_log_and_readyz(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"
    env = environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    with service("--cache-dir", str(cache), folder=tmp_path, env=env) as running:
        wait_until(lambda: running.ready().get("registry") is not None, running.log)
        error = running.ready()["registry"]["error"]
        log = running.log.read_text()
    assert error.startswith(f"cache-dir: versions cannot be kept in {cache}")
    assert "(Not a directory); let this user write there, or choose another folder with --cache-dir" in error
    assert str(cache) in log
    assert "Traceback" not in log


def test_a_user_without_a_home_is_told_to_set_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", _no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(ConfigurationError, match="this user has no home; set --cache-dir or POLSERVE_CACHE_DIR"):
        _ = load_settings({}).registry_cache


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("boto3", "the Python module boto3 is missing; pip install 'boto3'"),
        ("botocore.session", "the Python module botocore is missing; pip install 'boto3'"),
        ("pymysql", "the Python module pymysql is missing; pip install 'pymysql'"),
        ("MySQLdb", "pip install 'mysqlclient'; or pip install 'pymysql', and begin the address with mysql+pymysql://"),
        ("psycopg", "begin the address with postgresql+psycopg2://, whose driver is installed"),
    ],
)
def test_a_missing_package_is_named_as_it_is_installed(module: str, message: str) -> None:
    assert message in missing_package(ModuleNotFoundError(f"No module named {module!r}", name=module))


def test_a_database_without_a_driver_is_named_in_readyz(tmp_path: Path) -> None:
    env = environment(MLFLOW_TRACKING_URI="mysql://me:secret@127.0.0.1/registry")
    with service("--cache-dir", str(tmp_path), folder=tmp_path, env=env) as running:
        wait_until(lambda: running.ready().get("registry") is not None, running.log)
        error = running.ready()["registry"]["error"]
    assert error.startswith("MLFLOW_TRACKING_URI: the Python module MySQLdb is missing; pip install 'mysqlclient'")


@pytest.mark.starts_processes
def test_a_process_that_ended_by_itself_leaves_no_zombie() -> None:
    # It ends where it is told nothing.
    child = ChildProcess("child", "polserve.serving.validation.validator_process")
    assert child._process.stdin is not None  # noqa: SLF001
    child._process.stdin.close()  # noqa: SLF001
    until = time.monotonic() + 30
    while Path(f"/proc/{child.pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{child.pid}").exists()
