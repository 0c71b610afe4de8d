"""Names of policies, which must be good for a folder and for MLflow before anything is learned."""

from pathlib import Path

import pytest

from polserve.protos.shared.version_names import VersionName
from polserve.training.errors import InvalidOption
from polserve.training.imports.request import ImportRequest
from polserve.training.registry.names import LONGEST_NAME, check_policy_name, policy_name_from
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.runs.request import name_after
from tests.support.stores import new_store
from tests.support.versions import make_version

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


@pytest.mark.parametrize("name", ["shop.v2", "a-b_c.D.9", "x" * LONGEST_NAME])
def test_every_name_that_is_taken_can_be_registered(name: str, tmp_path: Path) -> None:
    check_policy_name(name)
    client = connect(new_store(tmp_path))
    run = TrackedRun.start(client, "polserve", name, {})
    registry = PolicyRegistry(client)
    assert registry.register(make_version(name=name), run.run_id) == "1"
    assert registry.resolve(VersionName(name)) == "1"
    assert registry.has(name)
    assert registry.graph(name, "1", tmp_path / "graph")[1] == make_version(name=name).sha256


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b", ".a", "-a", "ä", "a\n", "x" * (LONGEST_NAME + 1)])
def test_a_name_that_no_folder_or_registry_takes_is_refused(name: str) -> None:
    with pytest.raises(InvalidOption, match=r"^name: expected"):
        check_policy_name(name)
    with pytest.raises(InvalidOption, match=r"^name: expected"):
        ImportRequest(name=name)


@pytest.mark.parametrize(
    ("environment_id", "name"),
    [
        ("CartPole-v1", "cartpole-v1"),
        ("ns/Weird_Name.X-v3", "weird_name.x-v3"),
        ("gym:Old-v0", "old-v0"),
        ("Käse:Lager-v1", "k-se-lager-v1"),
        (".hidden-v0", "hidden-v0"),
        ("ü", "policy"),
        ("E" * 300, "e" * LONGEST_NAME),
    ],
)
def test_a_name_after_an_environment_is_always_one_that_can_be_registered(environment_id: str, name: str) -> None:
    assert name_after(environment_id) == name
    check_policy_name(name)


def test_a_text_without_a_letter_gives_no_name() -> None:
    assert policy_name_from("..--") == ""
