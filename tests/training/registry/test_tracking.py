"""What MLflow keeps of a run that goes on with other settings."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from polserve.training.registry.tracking import TrackedRun
from tests.support.stores import new_store

# MLflow warns of itself when it is imported, and of the store that it keeps on this machine.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_resumed_run_is_tagged_with_what_is_not_as_it_was(tmp_path: Path) -> None:
    client = MlflowClient(new_store(tmp_path))
    run = TrackedRun.start(client, "polserve", "line", {"git_commit": "a", "init_from": ""})
    run.log_params({"steps": 1200, "long": 7_000 * "x", "seed": 5})

    def resumed(steps: int, commit: str) -> dict[str, str]:
        facts = {"steps": steps, "long": 7_000 * "x", "seed": 5, "git_commit": commit, "init_from": ""}
        run.tag_changes(facts)
        data = client.get_run(run.run_id).data
        assert (data.params["steps"], data.tags["git_commit"]) == ("1200", "a")
        return {name: value for name, value in data.tags.items() if name.startswith("resumed.")}

    assert resumed(1200, "a") == {}
    assert resumed(1300, "b") == {"resumed.steps": "1300", "resumed.git_commit": "b"}
    assert resumed(1200, "b") == {"resumed.steps": "1200", "resumed.git_commit": "b"}
