"""`polserve rollback`: @champion back to a version that was champion before."""

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.alias_history import HISTORY_TAG, Move, extended
from polserve.protos.shared.names import CHAMPION
from polserve.training.errors import RegistryError
from polserve.training.promotion.rollback import rollback
from polserve.training.registry import aliases
from polserve.training.registry.aliases import AliasMove
from tests.support.following import promoted
from tests.support.promoting import champion, command, history

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


@pytest.fixture(autouse=True)
def _is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "SETTLE_S", 0.0)


def moved(move: AliasMove) -> tuple[str | None, str]:
    """Which version was replaced, and by which."""
    return move.replaces, move.version


@pytest.fixture
def third(store: MlflowClient, policy: str) -> str:
    """A policy whose versions 1, 2 and 3 were champion in turn."""
    store.copy_model_version(f"models:/{policy}/1", policy)
    promoted(store, policy, "2", "")
    promoted(store, policy, "3", "")
    return policy


def test_rolling_back_twice_goes_back_two_versions(store: MlflowClient, third: str) -> None:
    assert command("rollback", third).text == f"{third}/2 is @champion again, in place of 3\n"
    assert command("rollback", third).text == f"{third}/1 is @champion again, in place of 2\n"
    assert champion(store, third) == "1"
    assert [(move.version, move.is_rollback) for move in history(store, third)] == [
        ("1", False),
        ("2", False),
        ("3", False),
        ("2", True),
        ("1", True),
    ]
    assert history(store, third)[-1].by.startswith("polserve rollback by ")


def test_without_an_earlier_champion_it_says_so(store: MlflowClient, policy: str) -> None:
    with pytest.raises(RegistryError, match="no champion before 1; none is on record"):
        rollback(policy)
    assert champion(store, policy) == "1"


def test_a_version_that_is_named_is_gone_back_to_directly(store: MlflowClient, third: str) -> None:
    assert command("rollback", third, "--to", "1").exit_code == 0
    assert champion(store, third) == "1"


def test_one_that_was_rolled_back_from_can_be_named_too(store: MlflowClient, third: str) -> None:
    command("rollback", third)
    assert command("rollback", third, "--to", "3").exit_code == 0
    assert champion(store, third) == "3"


@pytest.mark.parametrize("version", ["7", "3", "4"])
def test_a_version_that_was_not_champion_before_is_refused_and_those_that_were_are_named(
    store: MlflowClient, third: str, version: str
) -> None:
    store.copy_model_version(f"models:/{third}/1", third)  # version 4, never promoted
    answer = command("rollback", third, "--to", version)
    assert answer.exit_code == 1
    assert f"version {version} was not champion before 3; on record are 2, 1" in answer.error
    assert champion(store, third) == "3"


def test_deleted_versions_are_passed_over(store: MlflowClient, third: str) -> None:
    store.delete_model_version(third, "2")
    assert command("rollback", third).exit_code == 0
    assert champion(store, third) == "1"


def test_a_move_by_hand_that_a_service_saw_is_part_of_the_history(store: MlflowClient, third: str) -> None:
    store.set_registered_model_alias(third, CHAMPION, "1")
    text = store.get_registered_model(third).tags[HISTORY_TAG]
    store.set_registered_model_tag(third, HISTORY_TAG, extended(text, Move.now("1", "seen by polserve")))
    promoted(store, third, "2", "")
    assert moved(rollback(third)) == ("2", "1")


def test_a_move_by_hand_that_nobody_saw_is_rolled_back_too(store: MlflowClient, policy: str) -> None:
    store.set_registered_model_alias(policy, CHAMPION, "2")
    assert moved(rollback(policy)) == ("2", "1")
