"""Promotion by evidence, in a real MLflow registry."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import CHAMPION, SHA256_TAG
from polserve.training.errors import PromotionRefused
from polserve.training.promotion.candidacy import check_comparable
from polserve.training.registry import aliases
from polserve.training.registry.store import connect
from polserve.training.versions.version import PolicyVersion
from tests.support.following import promoted, register, register_changed
from tests.support.promoting import FEW, champion, command, decision_run, history, promote
from tests.support.versions import make_frames_version, make_version

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use


@pytest.fixture(autouse=True)
def _is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "SETTLE_S", 0.0)


@pytest.fixture(scope="session")
def strong(mlflow_url: str) -> str:
    """A policy whose version balances the pole ten times as long as the first of `registered`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
        register(connect(), "strong", 2)
    return "strong"


@pytest.fixture
def candidates(store: MlflowClient, policy: str, strong: str, registered: str) -> str:
    """A policy whose version 3 is better than its champion, version 1, and whose version 4 is version 1 again."""
    for source in (strong, registered):
        copied = store.copy_model_version(f"models:/{source}/1", policy)
        sha256 = store.get_model_version(source, "1").tags[SHA256_TAG]
        store.set_model_version_tag(policy, str(copied.version), SHA256_TAG, sha256)
    return policy


def test_a_better_candidate_becomes_champion_and_its_evidence_is_kept(
    store: MlflowClient, candidates: str, tmp_path: Path
) -> None:
    answer = promote(candidates, "3")
    assert answer.exit_code == 0, answer.error
    assert f"{candidates}/3 is @champion now: it is better: difference of mean +" in answer.text
    assert "P(improvement)" in answer.text
    assert champion(store, candidates) == "3"
    assert [move.version for move in history(store, candidates)] == ["1", "3"]
    assert history(store, candidates)[-1].by.startswith("polserve promote by ")
    assert "polserve.champion.intent" not in store.get_registered_model(candidates).tags
    tags = store.get_model_version(candidates, "3").tags
    assert tags["polserve.promotion"].startswith("promoted 20")

    run = decision_run(store, candidates, "3")
    assert run.info.run_name == f"promote {candidates}/3 against 1"
    assert (run.data.tags["decision"], run.data.tags["champion"]) == ("promoted", "1")
    assert run.data.params.items() >= {"rule": "better", "episodes": "30"}.items()
    gap = run.data.metrics["champion/mean"] - float(run.data.params["random_mean"])
    assert float(run.data.params["loss_allowed"]) == pytest.approx(0.05 * abs(gap))
    assert run.data.metrics["difference/iqm_low"] > 0
    folder = Path(store.download_artifacts(run.info.run_id, "", str(tmp_path)))
    kept = json.loads((folder / "comparison.json").read_text())
    assert len(kept["candidate_returns"]) == len(kept["champion_returns"]) == 30
    assert str(kept["first_seed"]) == run.data.params["first_seed"]
    assert "| IQM |" in (folder / "comparison.md").read_text()
    assert (folder / "returns.png").read_bytes().startswith(b"\x89PNG")


def test_a_worse_candidate_is_refused_with_the_table_and_a_record(store: MlflowClient, candidates: str) -> None:
    promoted(store, candidates, "3", "for the test")
    answer = promote(candidates, "1")
    assert answer.exit_code == 1
    assert f"{candidates}/1 is not promoted, @champion stays 3: it is worse" in answer.error
    assert "P(improvement)" in answer.text
    assert champion(store, candidates) == "3"
    assert decision_run(store, candidates, "1").data.tags["decision"] == "refused"
    assert store.get_model_version(candidates, "1").tags["polserve.promotion"].startswith("refused 20")


def test_its_like_replaces_the_champion_only_by_the_rule_not_worse(store: MlflowClient, candidates: str) -> None:
    refused = promote(candidates, "4")
    assert refused.exit_code == 1
    assert "it is not shown to be better" in refused.error
    assert "--rule not-worse would allow it" in refused.error
    assert promote(candidates, "4", "--rule", "not-worse").exit_code == 0
    assert champion(store, candidates) == "4"


def test_the_rule_is_set_once_by_variables(candidates: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLSERVE_PROMOTION_RULE", "not-worse")
    monkeypatch.setenv("POLSERVE_PROMOTION_MARGIN", "0.2")
    monkeypatch.setenv("POLSERVE_PROMOTION_EPISODES", "36")
    said = command("promote", f"{candidates}/4", "--processes", "1", "--json").json()
    assert (said["rule"], said["margin"], said["episodes"]) == ("not-worse", 0.2, 36)
    assert said["outcome"] == "promoted"


def test_asking_again_plays_the_same_games(candidates: str) -> None:
    first, second = (promote(candidates, "4", "--json").json() for _ in "12")
    assert first["first_seed"] >= 2_000_000_000
    assert first["comparison"] == second["comparison"]
    other = promote(candidates, "4", "--json", "--seed", "7").json()
    assert other["first_seed"] == 7
    assert other["comparison"] != first["comparison"]


def test_the_champion_need_not_be_promoted(store: MlflowClient, policy: str) -> None:
    answer = promote(policy, "1")
    assert answer.exit_code == 0
    assert answer.text == f"{policy}/1 is @champion already\n"
    assert len(history(store, policy)) == 1


def test_a_champion_that_a_service_refused_is_told_as_such(store: MlflowClient, policy: str) -> None:
    store.set_model_version_tag(policy, "1", "polserve.rollout.blue", "refused 2026-11-26T10:00:00Z it is too slow")
    assert (
        promote(policy, "1").text == f"{policy}/1 is @champion already; but service 'blue' refused it: it is too slow\n"
    )


def test_where_there_is_no_champion_a_version_becomes_it(store: MlflowClient, policy: str) -> None:
    store.delete_registered_model_alias(policy, CHAMPION)
    answer = command("promote", policy, *FEW)
    reason = "no games were played, since there was no champion; it was taken as the newest version"
    assert answer.text == f"{policy}/2 is @champion now: {reason}\n"
    assert champion(store, policy) == "2"


def test_without_a_simulator_it_is_promoted_by_force_and_the_reason_is_kept(store: MlflowClient, policy: str) -> None:
    version = register_changed(store, policy, make_frames_version())
    refused = promote(policy, version, "--allow-space-change")
    assert refused.exit_code == 1
    assert "names no environment that it could play in; with --force --reason it is promoted all the same" in (
        refused.error
    )
    assert champion(store, policy) == "1"
    forced = promote(policy, version, "--force", "--reason", "measured on the robot", "--allow-space-change")
    assert forced.text == f"{policy}/{version} is @champion now: forced: measured on the robot\n"
    tag = store.get_model_version(policy, version).tags["polserve.promotion"]
    assert tag.startswith("forced 20")
    assert tag.endswith("measured on the robot")
    run = decision_run(store, policy, version)
    assert (run.data.tags["decision"], run.data.tags["reason"]) == ("forced", "measured on the robot")
    assert [each.model_id for each in run.inputs.model_inputs], "the run is linked to the logged model"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"id": "Acrobot-v1", "kwargs_json": "{}"}, "cannot play Acrobot-v1: expected float32 (4,)"),
        ({"id": "Robot-v0"}, "cannot play: no environment 'Robot-v0' is registered with Gymnasium"),
        ({"kwargs_json": '{"sutton_barto_reward": true}'}, "in CartPole-v1 {} cannot be compared"),
    ],
)
def test_a_candidate_that_cannot_play_the_champions_games_is_promoted_only_by_force(
    store: MlflowClient, policy: str, environment: dict[str, str], reason: str
) -> None:
    version = register_changed(store, policy, make_version(), **environment)
    answer = promote(policy, version)
    assert answer.exit_code == 1
    assert reason in answer.error
    assert "--force --reason" in answer.error


def fetched(kwargs_json: str) -> Any:
    """A version that was trained in an account of these keyword arguments."""
    return SimpleNamespace(name="shop", spec=pb.PolicySpec(environment={"id": "Shop-v0", "kwargs_json": kwargs_json}))


def test_of_two_long_accounts_what_they_do_not_have_in_common_is_named() -> None:
    ours = {"account": {"channels": [1] * 200, "daily_budget": [1, 2], "horizon_days": 30}, "seed": 1}
    theirs = {"account": {"channels": [2], "daily_budget": [1, 2], "drift": 0.1, "horizon_days": 30}, "seed": 1}
    told = r"in Shop-v0 and of shop in one with another account\.channels, account\.drift cannot be compared"
    with pytest.raises(PromotionRefused, match=told):
        check_comparable(fetched(json.dumps(ours)), fetched(json.dumps(theirs)))


@pytest.mark.parametrize(("ours", "theirs"), [("", "{}"), ('{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}')])
def test_environments_that_are_written_in_two_ways_are_comparable(ours: str, theirs: str) -> None:
    check_comparable(fetched(ours), fetched(theirs))


def test_a_version_changed_after_registration_does_not_play(store: MlflowClient, policy: str) -> None:
    store.set_model_version_tag(policy, "2", SHA256_TAG, "0" * 64)
    answer = promote(policy, "2")
    assert answer.exit_code == 1
    assert f"its tag {SHA256_TAG} says 0000" in answer.error
    assert champion(store, policy) == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--force",), "--force needs a --reason"),
        (("--reason", "it looks good"), "--reason goes with --force"),
        (("--episodes", "5"), "greater than or equal to 30"),
        (("--rule", "lucky"), "'lucky' is not one of"),
    ],
)
def test_bad_usage_exits_2(options: tuple[str, ...], message: str) -> None:
    answer = command("promote", "cartpole", *options)
    assert answer.exit_code == 2
    assert message in answer.error


def test_a_version_whose_spaces_services_refuse_is_not_promoted_unless_that_is_said(
    store: MlflowClient, policy: str
) -> None:
    version = register_changed(store, policy, make_frames_version())
    for options in ((), ("--force", "--reason", "for the test")):
        answer = promote(policy, version, *options)
        assert answer.exit_code == 1
        assert f"services that answer with {policy}/1 refuse {policy}/{version}, unless they run with" in answer.error
        assert "its observation space is uint8 (4, 36, 36)" in answer.error
        assert f"that of {policy}/1 is float32 (4,); with --allow-space-change it becomes" in answer.error
        assert champion(store, policy) == "1"
    allowed = promote(policy, version, "--force", "--reason", "for the test", "--allow-space-change")
    assert allowed.exit_code == 0, allowed.error


def refused_champion(store: MlflowClient, policy: str) -> str:
    """Make a version with other spaces champion, as one that a service refused; return its number."""
    version = register_changed(store, policy, make_frames_version())
    promoted(store, policy, version, "for the test")
    store.set_model_version_tag(policy, version, "polserve.rollout.blue", "refused 2026-11-26T10:00:00Z other spaces")
    return version


def test_it_is_compared_with_what_services_answer_with_though_the_champion_was_refused(
    store: MlflowClient, policy: str
) -> None:
    refused_champion(store, policy)
    answer = promote(policy, "2", "--force", "--reason", "for the test")
    assert answer.exit_code == 0, answer.error


def test_it_is_compared_with_a_champion_that_one_service_refused_and_another_answers_with(
    store: MlflowClient, policy: str
) -> None:
    version = refused_champion(store, policy)
    store.set_model_version_tag(policy, version, "polserve.rollout.green", "live 2026-11-26T11:00:00Z")
    answer = promote(policy, "2", "--force", "--reason", "for the test")
    assert answer.exit_code == 1
    assert f"services that answer with {policy}/{version} refuse {policy}/2, unless they run with" in answer.error


def test_where_the_champion_cannot_be_had_nothing_is_compared_and_that_is_said(
    store: MlflowClient, policy: str
) -> None:
    store.set_model_version_tag(policy, "1", SHA256_TAG, "0" * 64)
    answer = promote(policy, "2", "--force", "--reason", "for the test")
    assert answer.exit_code == 0, answer.error
    assert f"warning: the spaces of {policy}/2 were not compared with those of {policy}/1" in answer.error


def test_a_candidate_that_cannot_be_had_is_promoted_by_force_with_a_warning(store: MlflowClient, policy: str) -> None:
    store.set_model_version_tag(policy, "2", SHA256_TAG, "0" * 64)
    answer = promote(policy, "2", "--force", "--reason", "for the test")
    assert answer.exit_code == 0, answer.error
    assert f"warning: the spaces of {policy}/2 were not compared with those of {policy}/1" in answer.error
    assert champion(store, policy) == "2"


def test_where_there_is_no_champion_a_version_with_other_spaces_becomes_it_with_a_warning(
    store: MlflowClient, policy: str
) -> None:
    version = register_changed(store, policy, make_frames_version())
    store.delete_registered_model_alias(policy, CHAMPION)
    answer = promote(policy, version, "--force", "--reason", "for the test")
    assert answer.exit_code == 0, answer.error
    assert f"warning: services that answer with {policy}/1 refuse {policy}/{version}, unless they run" in answer.error
    assert champion(store, policy) == version


def test_a_model_of_others_is_not_promoted_though_it_is_champion(store: MlflowClient, policy: str) -> None:
    copied = store.copy_model_version(f"models:/{policy}/1", policy)
    store.delete_model_version_tag(policy, str(copied.version), SHA256_TAG)
    store.set_registered_model_alias(policy, CHAMPION, str(copied.version))
    answer = promote(policy, str(copied.version))
    assert answer.exit_code == 1
    assert f"{policy}/{copied.version} is no version of polserve's: it has no tag polserve.sha256" in answer.error
    assert "polserve import onnx" in answer.error


def with_record(random_mean: float, max_steps: int, seed: int = 0) -> PolicyVersion:
    """A version whose evaluation, of games cut off at `max_steps`, says what the random policy returned."""
    version = make_version(seed)
    version.spec.evaluation.random_mean = random_mean
    version.spec.provenance.settings_json = json.dumps({"max_evaluation_steps": max_steps})
    return version


@pytest.mark.parametrize(("max_steps", "random_mean"), [("500", 20.0), ("5", 5.0)])
def test_the_lead_over_the_random_policy_is_that_of_games_as_long_as_the_champions(
    store: MlflowClient, policy: str, max_steps: str, random_mean: float
) -> None:
    standing = register_changed(store, policy, with_record(20.0, 500))
    promoted(store, policy, standing, "for the test")
    candidate = register_changed(store, policy, with_record(-1e9, 500, seed=1))
    said = promote(policy, candidate, "--max-steps", max_steps, "--rule", "not-worse", "--json").json()
    assert said["random_mean"] == random_mean
    lead = abs(said["comparison"]["champion"]["mean"] - random_mean)
    assert said["loss_allowed"] == pytest.approx(0.05 * lead)


def test_without_a_record_of_the_champions_the_random_policy_plays(policy: str) -> None:
    answer = promote(policy, "2", "--json")
    assert "the random policy plays 30 of them, since the margin is a part of the lead over it" in answer.error
