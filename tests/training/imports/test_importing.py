"""What becomes of an imported policy: a folder of a version, or a registered one."""

from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from mlflow import MlflowClient

from polserve import TrainingError, load, promote
from polserve.training.errors import ImportRefused, InvalidOption
from polserve.training.imports.importing import import_policy
from polserve.training.imports.request import ImportRequest
from tests.support.imported import continuous, discrete
from tests.support.stores import new_store

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


def test_an_import_into_a_folder_is_evaluated_and_loads(tmp_path: Path) -> None:
    request = ImportRequest("CartPole-v1", name="pole", episodes=5, folder=tmp_path)
    version = import_policy(lambda _: discrete(), request)
    assert version.path == tmp_path / "pole" / "1"
    loaded = load(version.path)
    spec = loaded.spec
    assert (spec.environment.id, spec.evaluation.episodes) == ("CartPole-v1", 5)
    assert (spec.provenance.source.tool, spec.provenance.source.file) == ("a tool 1.0", "policy.zip")
    assert (spec.parity.compared_with, spec.parity.compared_observations) == ("numpy", 1_000)
    assert loaded.act(np.array([0, 0, 0.1, 0], np.float32)).action == 0
    assert import_policy(lambda _: discrete(), request).version == "2"


def test_an_import_without_its_environment_says_so_and_needs_a_reason_to_be_promoted(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    heard = Heard()
    request = ImportRequest("NotInstalled-v0", name="torque", tracking_uri=store)
    version = import_policy(lambda _: continuous(), request, heard)
    assert "it is not evaluated: no environment 'NotInstalled-v0'" in heard.text
    assert (version.version, version.evaluation, version.is_champion) == ("1", None, False)
    assert not version.spec.HasField("evaluation")
    with pytest.raises(TrainingError, match=r"torque/1 was never evaluated .* with force_reason="):
        promote("torque", tracking_uri=store)
    assert promote("torque", force_reason="seen on the bench", tracking_uri=store).is_champion


def test_the_run_of_an_import_holds_the_source_the_returns_and_the_report(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    version = import_policy(
        lambda _: discrete(), ImportRequest("CartPole-v1", name="pole", episodes=5, tracking_uri=store)
    )
    assert version.is_champion
    client = MlflowClient(store)
    run = client.get_run(version.run_id)
    assert run.data.params["file"] == "policy.zip"
    assert run.data.metrics["evaluation/mean"] == pytest.approx(version.spec.evaluation.mean)
    assert {"evaluation.md", "returns.png"} <= {artifact.path for artifact in client.list_artifacts(version.run_id)}


def test_a_policy_of_another_environment_is_refused_with_both_spaces(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=r"takes Box.* and acts in Box.*CartPole-v1 has Box.* and Discrete\(2\)"):
        import_policy(lambda _: continuous(), ImportRequest("CartPole-v1", folder=tmp_path))


def test_a_module_without_an_environment_is_refused() -> None:
    with pytest.raises(InvalidOption, match="name it with --env"):
        ImportRequest(module="mine")


class Heard:
    """What an import says on its way."""

    def __init__(self) -> None:
        self.text = ""

    def note(self, text: str) -> None:
        self.text += f"{text}\n"

    def playing(self, title: str, games: int) -> NoReturn:
        raise AssertionError(f"nothing is to be played, but {title} ({games})")


@pytest.mark.parametrize(
    ("env", "module", "found"),
    [
        ("CartPole-v1", "", ("", "CartPole-v1")),
        ("my_envs:Still-v0", "", ("my_envs", "Still-v0")),
        ("gym:CartPole-v1", "", ("", "gym:CartPole-v1")),
        ("gym:my_envs:Still-v0", "", ("my_envs", "gym:Still-v0")),
        ("Still-v0", "my_envs", ("my_envs", "Still-v0")),
    ],
)
def test_the_environment_is_named_as_train_takes_it(env: str, module: str, found: tuple[str, str]) -> None:
    named = ImportRequest(env, module).environment()
    assert named is not None
    assert (named.module, named.id) == found
