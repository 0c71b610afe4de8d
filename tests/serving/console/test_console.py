"""The console in a real browser: it shows what is live, plays, asks, and runs nothing that a registry holds."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.names import POLICY_TAG
from polserve.serving.access.access_file import add_token
from polserve.training.promotion.decision import DecisionKind
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from tests.support.following import promoted, serve
from tests.support.installing import install_packages
from tests.support.recording import put_on_record
from tests.support.running import environment, service, wait_until
from tests.support.versions import make_version, with_spec

VISIT = Path(__file__).with_name("visit.py")
PLAYWRIGHT, AXE = "playwright==1.65.*", "axe-core@4.14.1"
SCRIPT = "<script>window.owned = 1</script><img src=x onerror='window.owned = 2'>"

pytestmark = [
    pytest.mark.timeout(900),  # the one visit that all of them look at may be slow on a busy machine
    pytest.mark.filterwarnings("ignore"),  # MLflow warns at its import and use
    pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("npm")), reason="needs chromium and npm"),
]


def register_hostile(store: MlflowClient, name: str) -> None:
    """Register two versions whose labels, names and tags are scripts, with the record of a promotion."""
    for seed in (0, 1):
        version = make_version(seed, name=name)
        spec = type(version.spec)()
        spec.CopyFrom(version.spec)
        spec.action.discrete.labels[:] = [SCRIPT, SCRIPT]
        spec.observation.components[0].name = spec.observation.components[0].unit = SCRIPT
        spec.environment.id = spec.algorithm = spec.provenance.machine = SCRIPT
        with TrackedRun.start(store, "tests", name, {}) as run:
            PolicyRegistry(store).register(with_spec(version, spec), run.run_id)
    store.set_registered_model_tag(name, POLICY_TAG, SCRIPT)
    promoted(store, name, "1", f"the first version {SCRIPT}")
    put_on_record(store, name, DecisionKind.REFUSED, f"it is worse {SCRIPT}", -5.0)
    store.set_model_version_tag(name, "2", "polserve.rollout.other", f"refused 2026-01-01T00:00:00Z {SCRIPT}")


@pytest.fixture(scope="module")
def seen(mlflow_url: str, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a browser saw of services with the bundled policies, with tokens, and with a registry full of scripts."""
    folder = tmp_path_factory.mktemp("console")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
        register_hostile(connect(), "hostile")
        bundled = stack.enter_context(service(folder=folder))
        access = folder / "access.toml"
        token = add_token(access, "reader", "observe", ["cartpole"], None)
        options = ("--policies", str(policies), "--access", str(access))
        guarded = stack.enter_context(service(*options, folder=folder))
        hostile = stack.enter_context(serve(mlflow_url, "hostile", folder))
        python = install_packages(folder / "environment", PLAYWRIGHT)
        given = {
            "chromium": shutil.which("chromium"),
            "axe": str(axe_core(folder)),
            "bundled": bundled.http_url,
            "hostile": hostile.http_url,
            "guarded": guarded.http_url,
            "token": token,
        }
        for running in (bundled, hostile, guarded):
            wait_until(running.is_up, running.log)
        result = subprocess.run(
            [python, VISIT, json.dumps(given)],
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
            env={**environment(), "PYTHONPATH": ""},
        )
        assert result.returncode == 0, result.stderr[-3000:]
        yield json.loads(result.stdout)


def axe_core(folder: Path) -> Path:
    """The file of axe-core, as npm has it."""
    subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True)  # noqa: S607
    (packed,) = folder.glob("axe-core-*.tgz")
    with tarfile.open(packed) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        path = folder / "axe.min.js"
        path.write_bytes(script.read())
    return path


PAGES = ("overview", "cartpole", "mountaincar", "mspacman", "adbudget", "hostile")


@pytest.mark.parametrize("page", [*PAGES, "guarded"])
def test_no_page_violates_accessibility_at_level_aa_in_light_or_dark(seen: dict[str, Any], page: str) -> None:
    assert seen[page]["violations"] == []


@pytest.mark.parametrize("page", PAGES)
def test_nothing_breaks_the_policy_of_the_page_or_fails_in_it(seen: dict[str, Any], page: str) -> None:
    assert seen[page]["problems"] == []
    assert seen[page].get("problems before", []) == []


def test_the_first_page_shows_what_is_live_and_asks_no_other_host(seen: dict[str, Any]) -> None:
    assert seen["overview"]["policies"] == ["adbudget", "cartpole", "mountaincar", "mspacman", "mspacman-maze"]
    assert seen["overview"]["state"] == "Ready"
    assert len(seen["overview"]["hosts"]) == 1


def test_a_policy_is_reached_by_the_keyboard_and_its_name_is_told(seen: dict[str, Any]) -> None:
    assert seen["overview"]["after three tabs and enter"] == "adbudget version 1"
    assert seen["overview"]["title"] == "adbudget version 1 · polserve"


def test_cartpole_is_played_by_the_service_and_falls_when_it_is_pushed(seen: dict[str, Any]) -> None:
    assert "answered by version 1" in seen["cartpole"]["status"]
    assert seen["cartpole"]["values"] == ["push left", "push right"]
    assert seen["cartpole"]["actions"] == ["push left", "push right"]


def test_a_form_tells_the_action_for_an_observation_and_why_one_is_refused(seen: dict[str, Any]) -> None:
    assert "observation" in seen["cartpole"]["refusal"]


def test_a_folder_has_no_history_and_the_page_says_so(seen: dict[str, Any]) -> None:
    assert "follows a folder" in seen["cartpole"]["history"]


def test_mountaincar_is_played_by_the_service(seen: dict[str, Any]) -> None:
    assert "answered by version 1" in seen["mountaincar"]["status"]


def test_a_recorded_game_of_ms_pacman_is_shown(seen: dict[str, Any]) -> None:
    assert "of 600" in seen["mspacman"]["status"]
    assert seen["mspacman"]["colors"] > 5


def test_a_budget_is_split_and_its_plan_follows_the_sliders(seen: dict[str, Any]) -> None:
    assert seen["adbudget"]["days"] == 30
    assert seen["adbudget"]["today"] == ["facebook", "equal split", "instagram", "equal split"]
    assert seen["adbudget"]["left"].startswith("$")


def test_a_service_that_asks_who_calls_gets_a_token_and_shows_what_that_may_see(seen: dict[str, Any]) -> None:
    assert "expected `Bearer TOKEN`" in seen["guarded"]["asked"]
    assert seen["guarded"]["shown before"] == 0
    assert seen["guarded"]["policies"] == ["cartpole"]


def test_scripts_in_names_labels_and_tags_are_shown_and_never_run(seen: dict[str, Any]) -> None:
    hostile = seen["hostile"]
    assert hostile["is owned"] is False
    assert hostile["scripts"] == 0
    for place in ("the first version", "it is worse", "other refused version 2"):
        assert place in hostile["text"]
    assert hostile["text"].count("<script>window.owned = 1</script>") >= 5
