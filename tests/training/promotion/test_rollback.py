"""`polserve rollback`: @champion back to a version that was champion before."""

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.alias_history import HISTORY_TAG, Move, extended
from polserve.protos.shared.names import CHAMPION
from polserve.training.errors import PromotionRefused, RegistryError
from polserve.training.promotion.past import PolicyPast
from polserve.training.promotion.rollback import rollback
from polserve.training.registry import aliases
from polserve.training.registry.aliases import AliasMove
from polserve.training.registry.versions import PolicyRegistry
from tests.support.following import promoted, register_changed
from tests.support.promoting import champion, command, history
from tests.support.versions import make_frames_version

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


REFUSED = "refused 2026-11-26T10:00:00Z observation space: expected float32 (4,)"


@pytest.mark.parametrize(("outcome", "verb"), [("refused", "refused"), ("withdrawn", "withdrew")])
def test_versions_that_services_refused_are_passed_over_and_named(
    store: MlflowClient, third: str, outcome: str, verb: str
) -> None:
    store.set_model_version_tag(third, "2", "polserve.rollout.blue", REFUSED.replace("refused", outcome))
    answer = command("rollback", third)
    assert answer.text == f"{third}/1 is @champion again, in place of 3\n"
    reason = f"service 'blue' {verb} it: observation space: expected float32 (4,)"
    assert f"note: {third}/2 is passed over: {reason}" in answer.error
    assert champion(store, third) == "1"


def test_a_version_that_went_live_after_it_was_refused_is_gone_back_to(store: MlflowClient, third: str) -> None:
    store.set_model_version_tag(third, "2", "polserve.rollout.blue", "live 2026-11-26T11:00:00Z")
    assert moved(rollback(third)) == ("3", "2")


@pytest.mark.parametrize("options", [(), ("--to", "2")])
def test_a_version_that_one_service_refused_is_gone_back_to_where_another_answers_with_it(
    store: MlflowClient, third: str, options: tuple[str, ...]
) -> None:
    store.set_model_version_tag(third, "2", "polserve.rollout.blue", REFUSED)
    store.set_model_version_tag(third, "2", "polserve.rollout.green", "live 2026-11-26T11:00:00Z")
    answer = command("rollback", third, *options)
    assert answer.text == f"{third}/2 is @champion again, in place of 3\n"
    assert f"note: {third}/2: service 'blue' refused it: observation space: expected float32 (4,)" in answer.error
    assert "passed over" not in answer.error


def test_a_refused_version_is_gone_back_to_only_where_that_is_said(store: MlflowClient, third: str) -> None:
    store.set_model_version_tag(third, "2", "polserve.rollout.blue", REFUSED)
    answer = command("rollback", third, "--to", "2")
    assert answer.exit_code == 1
    assert f"services would not answer with {third}/2: service 'blue' refused it: observation space" in answer.error
    assert "with --allow-refused it becomes @champion all the same" in answer.error
    assert champion(store, third) == "3"
    assert command("rollback", third, "--to", "2", "--allow-refused").exit_code == 0
    assert champion(store, third) == "2"


def test_where_services_refused_every_earlier_champion_they_are_all_named(store: MlflowClient, third: str) -> None:
    for version in ("1", "2"):
        store.set_model_version_tag(third, version, "polserve.rollout.blue", REFUSED)
    past = PolicyPast.read(PolicyRegistry(store), third)
    assert [(version, past.is_refused(version)) for version in past.earlier] == [("2", True), ("1", True)], past
    with pytest.raises(PromotionRefused, match=r"/2 is passed over: .*/1 is passed over: .* with allow_refused=True"):
        rollback(third)
    assert moved(rollback(third, allow_refused=True)) == ("3", "2")


def test_a_version_with_other_spaces_than_services_answer_with_is_refused_unless_that_is_allowed(
    store: MlflowClient, policy: str
) -> None:
    other = register_changed(store, policy, make_frames_version())
    promoted(store, policy, other, "for the test")
    with pytest.raises(PromotionRefused, match=f"answer with {policy}/{other} refuse {policy}/1, unless they run"):
        rollback(policy)
    store.set_model_version_tag(policy, other, "polserve.rollout.blue", REFUSED)
    assert moved(rollback(policy)) == (other, "1"), "services still answer with it"
    promoted(store, policy, "2", "for the test")
    assert command("rollback", policy, "--to", other, "--allow-refused").exit_code == 1
    options = ("--allow-refused", "--allow-space-change")
    assert command("rollback", policy, "--to", other, *options).exit_code == 0


def test_where_the_alias_is_gone_the_last_champion_is_named_and_can_be_gone_back_to(
    store: MlflowClient, third: str
) -> None:
    store.delete_model_version(third, "3")  # which takes the alias away
    answer = command("rollback", third)
    assert answer.exit_code == 1
    assert f"{third} has no alias @champion to roll back from; its last champion was 2: " in answer.error
    assert f"`polserve rollback {third} --to 2` makes it @champion again" in answer.error
    assert f"`polserve promote {third}/VERSION`" in answer.error
    back = command("rollback", third, "--to", "2")
    assert back.text == f"{third}/2 is @champion again, where there was none\n"
    assert [move.version for move in history(store, third)] == ["1", "2", "3", "2"]
    assert moved(rollback(third)) == ("2", "1")


def test_without_an_alias_and_a_record_promotion_is_named(store: MlflowClient, policy: str) -> None:
    store.delete_registered_model_alias(policy, CHAMPION)
    store.delete_registered_model_tag(policy, HISTORY_TAG)
    with pytest.raises(RegistryError, match=r"no champion is on record; polserve\.promote\(\".*/VERSION\"\) makes any"):
        rollback(policy)
