"""The files for Kubernetes and systemd say what the service and the image understand."""

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from polserve.serving.service import GRACE_S
from polserve.serving.settings.settings import load_settings
from tests.support.running import ROOT, page, service, wait_until
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


def test_the_command_of_the_unit_serves_and_answers_the_probes_of_the_pod(
    container: dict[str, Any], tmp_path: Path
) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(ROOT / "deploy/polserve.service")
    _, command, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert command == "serve"
    assert int(unit["Service"]["TimeoutStopSec"]) > GRACE_S
    (make_version()).write(tmp_path / "policies" / "cartpole" / "1")
    placed = {"/var/lib/polserve/policies": tmp_path / "policies", "/var/cache/polserve": tmp_path / "cache"}
    with service(*(str(placed.get(one, one)) for one in arguments), folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert page(f"{running.http_url}{container[probe]['httpGet']['path']}")[0] == 200
        assert running.process.poll() is None
