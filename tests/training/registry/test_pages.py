"""Where a person is sent to see a run."""

import pytest
from mlflow import MlflowClient

from polserve.training.registry.pages import run_page

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


def test_a_run_on_a_server_has_the_address_of_its_page_without_the_password(
    store: MlflowClient, mlflow_url: str
) -> None:
    experiment = store.create_experiment("pages")
    run = store.create_run(experiment).info.run_id
    expected = f"{mlflow_url}/#/experiments/{experiment}/runs/{run}"
    assert run_page(store, run) == expected
    assert run_page(MlflowClient(mlflow_url.replace("//", "//user:secret@")), run) == expected
