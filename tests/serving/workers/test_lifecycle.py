import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from polserve.serving.client import ClientError, PolicyClient
from polserve.serving.http.pages import page_routes
from polserve.serving.http.server import HttpServer
from tests.support.running import Running, environment, page, polserve, service, wait_until
from tests.support.versions import make_version

OBSERVATION = np.zeros(4, np.float32)


def test_sigterm_finishes_what_is_in_flight_and_exits_0(policies: Path, tmp_path: Path) -> None:
    failures: list[ClientError] = []
    answers: list[str] = []
    with service("--policies", str(policies), folder=tmp_path) as running, PolicyClient(running.target) as client:
        wait_until(lambda: running.ready()["ready"] is True)

        def ask() -> None:
            try:
                while True:
                    answers.append(client.act("cartpole", OBSERVATION).version)
            except ClientError as error:
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answers) > 100)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(15) == 0  # it has ten seconds in a container, and a busy machine takes some
        for thread in threads:
            thread.join()
    assert {failure.code for failure in failures} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert not any("Stream removed" in str(failure) for failure in failures), "what arrived was answered"
    assert "event=stopped" in running.log.read_text()


def test_a_health_watcher_sees_the_drain(policies: Path, tmp_path: Path) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    with service("--policies", str(policies), folder=tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True)
        with grpc.insecure_channel(running.target) as channel:
            statuses = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(statuses).status == serving
            running.process.send_signal(signal.SIGTERM)
            assert next(statuses).status == not_serving


def test_many_health_watchers_leave_the_threads_to_the_calls(running: Running, client: PolicyClient) -> None:
    with grpc.insecure_channel(running.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watchers = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(50)]
        assert [next(watcher).status for watcher in watchers] == [health_pb2.HealthCheckResponse.SERVING] * 50
        assert client.act("cartpole", OBSERVATION).version == "1"
        for watcher in watchers:
            watcher.cancel()


def test_a_port_in_use_is_named_and_the_exit_code_is_1(services: Callable[[str], Running], policies: Path) -> None:
    taken = [address.rsplit(":", 1)[1] for address in (services("nghttp2").target, services("nghttp2").http_url)]
    given = [("--grpc-port", taken[0], "--http-port", "0"), ("--grpc-port", "0", "--http-port", taken[1])]
    with ThreadPoolExecutor(2) as pool:  # each tries again for some seconds
        results = list(pool.map(lambda ports: polserve("serve", "--policies", str(policies), *ports), given))
    for port, result in zip(taken, results, strict=True):
        assert result.returncode == 1
        assert f"127.0.0.1:{port} cannot be bound" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_service_without_policies_lives_but_is_never_ready(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with service("--policies", str(tmp_path / "empty"), folder=tmp_path) as running:
        status, text = page(f"{running.http_url}/readyz")
        assert status == 503
        assert "no policy is live" in text
        assert page(f"{running.http_url}/livez") == (200, "ok\n")
        assert page(f"{running.http_url}/other")[0] == 404
        with grpc.insecure_channel(running.target) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with PolicyClient(running.target) as client, pytest.raises(ClientError, match="live are none"):
            client.act("cartpole", OBSERVATION)


def test_a_required_policy_that_is_missing_keeps_the_service_unready(policies: Path, tmp_path: Path) -> None:
    options = ("--policies", str(policies), "--policy", "cartpole", "--policy", "go")
    with service(*options, folder=tmp_path) as running, PolicyClient(running.target) as client:
        wait_until(lambda: "cartpole" in running.ready()["policies"])
        assert page(f"{running.http_url}/readyz")[0] == 503
        assert running.ready()["reason"] == "no version is live of go"
        assert client.act("cartpole", OBSERVATION).version == "1", "what is there answers"


def test_a_bad_version_copied_in_never_replaces_the_live_one(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    make_version().write(folder / "cartpole" / "1")
    with service("--policies", str(folder), "--poll-interval", "0.1", folder=tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True)
        bad = folder / "cartpole" / ".2"
        make_version().write(bad)
        (bad / "model.onnx").write_bytes(b"not a model")
        bad.rename(folder / "cartpole" / "2")
        refused = 'polserve_rollouts_total{outcome="refused",policy="cartpole"} 1.0'
        wait_until(lambda: refused in running.metrics(), running.log)
        assert "event=rollout_refused policy=cartpole version=2" in running.log.read_text()
        assert running.ready()["policies"] == {"cartpole": {"champion": "1"}}
        make_version(1).write(folder / "cartpole" / "3")
        wait_until(lambda: running.ready()["policies"] == {"cartpole": {"champion": "3"}}, running.log)


def test_a_folder_that_goes_away_and_comes_back_is_followed_again(tmp_path: Path) -> None:
    folder, away = tmp_path / "policies", tmp_path / "away"
    make_version().write(folder / "cartpole" / "1")
    with service("--policies", str(folder), "--poll-interval", "0.1", folder=tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True)
        folder.rename(away)
        wait_until(lambda: "cannot be read (No such file or directory)" in running.log.read_text())
        assert running.ready()["ready"] is True, "what is live stays live"
        make_version(1).write(away / "cartpole" / "2")
        away.rename(folder)
        wait_until(lambda: running.ready()["policies"] == {"cartpole": {"champion": "2"}}, running.log)


def before_others(folder: Path) -> str:
    """A PYTHONPATH with the folder in front of what is there."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_the_base_install_serves_without_torch_gymnasium_or_full_mlflow(policies: Path, tmp_path: Path) -> None:
    forbidden = ("torch", "gymnasium", "onnx", "scipy", "matplotlib", "sqlalchemy", "alembic")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {forbidden!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    env = environment(PYTHONPATH=before_others(tmp_path))
    imported = subprocess.run(
        [sys.executable, "-c", "import polserve.serving, torch"], capture_output=True, check=False, env=env
    )
    assert b"No module named 'torch'" in imported.stderr, "the modules are absent indeed"
    with service("--policies", str(policies), folder=tmp_path, env=env) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        with PolicyClient(running.target) as client:
            assert client.act("cartpole", OBSERVATION).version == "1"


def test_serving_imports_nothing_heavy() -> None:
    heavy = ("numpy", "grpc", "onnxruntime", "torch")
    code = f"import polserve.serving, sys; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_validator_reads_no_settings_and_imports_nothing_that_reads_them() -> None:
    needless = ("pydantic", "typer", "prometheus_client", "uvicorn", "mlflow", "pandas", "sqlalchemy", "numpy.random")
    code = (
        "import polserve.serving.validation.validator_process, polserve.serving.validation.acceptance, sys\n"
        f"print([m for m in {needless} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_follower_tells_what_was_live_before_it_imports_the_client_of_the_registry() -> None:
    code = "import polserve.serving.sources.follower_process, sys; print('mlflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_the_service_imports_nothing_that_it_does_not_use() -> None:
    needless = (
        "mlflow",
        "pandas",
        "sqlalchemy",
        "grpc",
        "pydantic",
        "structlog",
        "typer",
        "rich",
        "jwt",
        "cryptography",
    )
    code = (
        "import polserve.serving.commands.launching, polserve.serving.service, polserve.serving.workers.in_process\n"
        f"import polserve.serving.grpc.nghttp2, sys; print([m for m in {needless} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_supervisor_imports_nothing_that_only_its_workers_use() -> None:
    code = (
        "import polserve.serving.commands.launching, polserve.serving.service, polserve.serving.workers.supervisor\n"
        "import sys; print([m for m in ('onnxruntime', 'grpc', 'ngh2') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (["--policies", "/no/such/folder"], {}, "policies: expected a folder of policies/<name>/<version>/"),
        (["--grpc-port", "70000"], {}, "--grpc-port: expected a whole number from 0 to 65535, got '70000'"),
        ([], {"POLSERVE_HTTP_PORT": "many"}, "POLSERVE_HTTP_PORT: expected a whole number from 0 to 65535, got 'many'"),
        (["--poll-interval", "-1"], {}, "--poll-interval: expected a number above 0 and at most 86400, got '-1'"),
        (["--policies", "."], {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}, "expected one of the two"),
        ([], {"MLFLOW_TRACKING_URI": "file:///mlruns"}, "expected http://, https:// or a database URI"),
    ],
)
def test_a_setting_that_makes_no_sense_ends_with_one_line(
    arguments: list[str], changes: dict[str, str], message: str
) -> None:
    result = polserve("serve", *arguments, **changes)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_sqlite_store_without_full_mlflow_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'sqlalchemy' else find(name, *a)\n"
    )
    result = polserve("serve", MLFLOW_TRACKING_URI="sqlite:///mlflow.db", PYTHONPATH=before_others(tmp_path))
    assert result.returncode == 2
    assert "run `mlflow server --backend-store-uri ...` with that URI" in result.stderr


def test_the_bundled_policies_are_found_from_any_working_directory(tmp_path: Path) -> None:
    with service(folder=tmp_path, cwd=tmp_path) as running:
        wait_until(lambda: running.ready()["ready"] is True, running.log)
        assert "cartpole" in running.ready()["policies"]


def test_the_pages_are_served_over_ipv6() -> None:
    server = HttpServer("::1", 0)
    server.start(page_routes(bytes, lambda: {"ready": True}))
    try:
        assert page(f"http://[::1]:{server.port}/readyz")[0] == 200
    finally:
        server.stop()
