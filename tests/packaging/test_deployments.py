"""The files for Kubernetes and systemd say what the service and the image understand."""

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from polserve.serving.access.access_file import add_token
from polserve.serving.service import GRACE_S
from polserve.serving.settings.settings import load_settings
from tests.support.certificates import Authority
from tests.support.running import ROOT, free_port, page, program, service, wait_until
from tests.support.versions import make_version

DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text())}


@pytest.fixture(scope="module")
def pod(manifests: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


def test_a_containers_variables_are_settings(container: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    image = dict(re.findall(r"(POLSERVE_\w+)=(\S+)", DOCKERFILE))
    variables = image | {one["name"]: one["value"] for one in container["env"]}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings({})
    taken = [settings.host, settings.service, settings.registry_address, str(settings.tls_cert), str(settings.access)]
    names = ("POLSERVE_HOST", "POLSERVE_SERVICE", "MLFLOW_TRACKING_URI", "POLSERVE_TLS_CERT", "POLSERVE_ACCESS")
    assert taken == [variables[name] for name in names]
    assert not settings.insecure
    mounted = [one["mountPath"] for one in container["volumeMounts"]]
    assert all(any(path.startswith(f"{mount}/") for mount in mounted) for path in taken[3:])
    assert str(settings.cache_dir) in mounted, "it may write nowhere else"


def test_a_pod_is_the_images_user_and_has_time_to_drain(pod: dict[str, Any], container: dict[str, Any]) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    context = pod["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user.groups()
    assert pod["terminationGracePeriodSeconds"] > GRACE_S
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_a_service_reaches_the_ports_of_its_pods(manifests: dict[str, Any], container: dict[str, Any]) -> None:
    assert manifests["Service"]["spec"]["selector"] == manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert {one["targetPort"]: one["port"] for one in manifests["Service"]["spec"]["ports"]} == ports
    assert (ports["grpc"], ports["http"]) == (load_settings({}).grpc_port, load_settings({}).http_port)


def test_a_pod_that_waits_for_its_registry_is_alive_and_not_ready(container: dict[str, Any], tmp_path: Path) -> None:
    """With TLS and an access file as in the pod, and a registry that does not answer."""
    pair, access = Authority(tmp_path).sign("service"), tmp_path / "access.toml"
    add_token(access, "robot", "act", [], None)
    told = {one["name"]: one["value"] for one in container["env"]}
    told |= {"POLSERVE_TLS_CERT": str(pair.certificate), "POLSERVE_TLS_KEY": str(pair.key)}
    told |= {"POLSERVE_ACCESS": str(access), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    port = free_port()
    arguments = ("serve", "--grpc-port", str(free_port()), "--http-port", str(port), "--cache-dir", str(tmp_path / "c"))
    log = tmp_path / "log"
    with program("-m", "polserve", *arguments, log=log, env=told) as process:

        def asked(probe: str) -> int:
            at = container[probe]["httpGet"]
            return page(f"{at['scheme'].lower()}://127.0.0.1:{port}{at['path']}")[0]

        wait_until(lambda: asked("startupProbe") == 200, log)
        wait_until(lambda: "event=registry_down" in log.read_text(), log)
        assert (asked("startupProbe"), asked("livenessProbe"), asked("readinessProbe")) == (200, 200, 503)
        assert process.poll() is None


def test_the_unit_serves_the_folder_that_it_makes_first_empty_and_then_what_comes(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(ROOT / "deploy/polserve.service")
    _, command, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert command == "serve"
    assert int(unit["Service"]["TimeoutStopSec"]) > GRACE_S
    made = {
        f"/var/{kind}/{unit['Service'][name]}"
        for kind, name in (("lib", "StateDirectory"), ("cache", "CacheDirectory"))
    }
    placed = {path: tmp_path / path.lstrip("/") for path in made}
    assert made <= set(arguments), "systemd makes them"
    for folder in placed.values():
        folder.mkdir(parents=True)
    with service(*(str(placed.get(one, one)) for one in arguments), folder=tmp_path) as running:
        assert running.ready_page()[0] == 503
        make_version().write(placed["/var/lib/polserve/policies"] / "cartpole" / "1")
        wait_until(running.is_up, running.log)
