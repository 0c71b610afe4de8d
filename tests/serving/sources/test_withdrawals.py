"""A version that was withdrawn for what it did answers no more after a new start, until its alias is moved anew."""

from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from mlflow import MlflowClient

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2_grpc
from polserve.protos.shared.alias_history import Move, extended
from polserve.protos.shared.names import CHAMPION
from polserve.protos.shared.promotions import ROLLOUT_TAG, WITHDRAWN_TAG
from polserve.serving.sources.cache import VersionCache
from polserve.serving.sources.follower import Follower, last_good
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.registry import Model, Registry
from polserve.serving.sources.withdrawal_records import WithdrawalRecords
from polserve.serving.sources.withdrawals import Withdrawals
from polserve.serving.versions import RolloutResult, VersionRef
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from tests.support.following import answering, promoted, serve
from tests.support.local_workers import LoaderOnly
from tests.support.running import wait_until
from tests.support.trapped import TRIGGER, make_trapped_version
from tests.support.versions import make_version

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

TEXT = "withdrawn 2026-11-26T10:00:00Z after 3 runs that had to be ended: too slow"
WITHDRAWN = {ROLLOUT_TAG + "blue": TEXT, WITHDRAWN_TAG + "blue": TEXT}
NO_RECORDS = WithdrawalRecords(None)
REF = VersionRef("go", "7", Path("go/7"), "a" * 64)


def reason(tags: dict[str, str], *moves: Move) -> str:
    """Why the service "blue" leaves version 7 out of service, of which the registry says this as it starts."""
    history = ""
    for move in moves:
        history = extended(history, move)
    withdrawals, model = Withdrawals("blue", NO_RECORDS), Model("go", {CHAMPION: "7"}, history, 1)
    withdrawals.read(model, "7", tags)
    return withdrawals.mark(model, REF).withdrawn


def test_a_model_that_was_made_anew_under_the_same_name_is_another() -> None:
    withdrawals, model = Withdrawals("blue", NO_RECORDS), Model("go", {CHAMPION: "7"}, "", 1)
    withdrawals.read(model, "7", WITHDRAWN)
    assert not withdrawals.mark(replace(model, created=2), REF).withdrawn
    withdrawals.note_look(replace(model, created=2), {"7"})
    assert not withdrawals.mark(model, REF).withdrawn


def test_the_reason_on_the_registry_version_counts_at_a_new_start() -> None:
    assert reason(WITHDRAWN) == "since 2026-11-26T10:00:00Z, after 3 runs that had to be ended: too slow"


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {ROLLOUT_TAG + "blue": TEXT},
        {ROLLOUT_TAG + "blue": "live 2026-11-26T11:00:00Z", WITHDRAWN_TAG + "blue": TEXT},
        {ROLLOUT_TAG + "green": TEXT, WITHDRAWN_TAG + "green": TEXT},
    ],
    ids=["none", "distrusted", "live again", "of another service"],
)
def test_other_tags_withdraw_nothing(tags: dict[str, str]) -> None:
    assert reason(tags) == ""


@pytest.mark.parametrize(
    ("move", "is_withdrawn"),
    [
        (Move("7", "2026-11-26T09:00:00Z", "promoted by ann"), True),
        (Move("7", "2026-11-26T11:00:00Z", "promoted by ann"), False),
        (Move("7", "2026-11-26T11:00:00Z", "seen by blue"), True),
        (Move("6", "2026-11-26T11:00:00Z", "promoted by ann"), True),
    ],
    ids=["before", "since", "found later", "to another version"],
)
def test_a_promotion_since_then_gives_the_version_another_try(move: Move, *, is_withdrawn: bool) -> None:
    assert bool(reason(WITHDRAWN, move)) is is_withdrawn


def test_a_follower_that_starts_anew_knows_what_was_withdrawn_until_the_alias_moves(
    mlflow_url: str, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    config = FollowerConfig(mlflow_url, (policy,), (CHAMPION,), 1.0, str(tmp_path), 2**30, "tests")
    first = Follower(config, Registry(mlflow_url), VersionCache(tmp_path))
    first.desired()
    first.record([RolloutResult(policy, "1")], {policy: {CHAMPION: "1"}})
    assert last_good(config, VersionCache(tmp_path))
    first.record([RolloutResult(policy, "1", "it ran away", is_withdrawn=True, is_final=True)], {policy: {}})
    assert last_good(config, VersionCache(tmp_path)) == {}, "without the registry, it is not served either"

    second = Follower(config, Registry(mlflow_url), VersionCache(tmp_path))
    assert all(second.desired()[policy][CHAMPION].withdrawn.endswith("it ran away") for _ in range(2))
    for number in ("2", "1"):
        store.set_registered_model_alias(policy, CHAMPION, number)
        assert second.desired()[policy][CHAMPION].withdrawn == ""


def test_what_is_withdrawn_is_not_tried_and_goes_where_it_is_live_until_its_alias_moves(tmp_path: Path) -> None:
    workers = LoaderOnly()
    rollout = workers.rollout(is_list_fixed=True)
    version = make_version()
    cached = VersionRef("cartpole", "1", version.write(tmp_path / "1"), version.sha256)
    marked = VersionRef("cartpole", "1", cached.folder, version.sha256, withdrawn="since noon, it ran away")
    rollout.apply({"cartpole": {CHAMPION: cached}})
    assert rollout.aliases == {"cartpole": {CHAMPION: "1"}}
    assert rollout.apply({"cartpole": {CHAMPION: marked}}) == []
    assert rollout.aliases == {}
    assert rollout.withdrawn() == [{"policy": "cartpole", "version": "1", "reason": "since noon, it ran away"}]
    rollout.apply({"cartpole": {}})
    rollout.apply({"cartpole": {CHAMPION: cached}})
    assert rollout.aliases == {"cartpole": {CHAMPION: "1"}}


def test_a_version_that_ran_away_does_not_answer_again_after_a_restart(
    mlflow_url: str, store: MlflowClient, tmp_path: Path
) -> None:
    registry = PolicyRegistry(store)
    run = TrackedRun.start(store, "tests", "cartpole", {})
    with run:
        good, bad = (registry.register(one, run.run_id) for one in (make_version(), make_trapped_version("turns")))
    promoted(store, "cartpole", good, "the first version")
    options = ("--run-limit", "0.5", "--max-runaways", "1")
    with serve(mlflow_url, "cartpole", tmp_path, *options) as running:
        wait_until(running.is_up, running.log)
        promoted(store, "cartpole", bad, "for the test")
        wait_until(lambda: answering(running, "cartpole") == bad, running.log)
        with grpc.insecure_channel(running.target) as channel:
            request = pb.ActRequest(policy="cartpole", observation=pb.Tensor(values=[TRIGGER] * 4))
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                policy_pb2_grpc.PolicyServiceStub(channel).Act(request, timeout=60)
        wait_until(lambda: answering(running, "cartpole") == good, running.log)
        wait_until(lambda: f"{WITHDRAWN_TAG}tests" in store.get_model_version("cartpole", bad).tags, running.log)
    with serve(mlflow_url, "cartpole", tmp_path, *options) as running:
        wait_until(lambda: "withdrawn" in running.ready_page()[1], running.log)
        assert answering(running, "cartpole") == good
        (withdrawn,) = running.ready()["withdrawn"]
        assert (withdrawn["version"], "1 runs that had to be ended" in withdrawn["reason"]) == (bad, True)
        assert "event=version_still_withdrawn" in running.log.read_text()
        promoted(store, "cartpole", good, "away")
        wait_until(lambda: '"withdrawn"' not in running.ready_page()[1], running.log)
        promoted(store, "cartpole", bad, "and back")
        wait_until(lambda: answering(running, "cartpole") == bad, running.log)
    store.delete_registered_model("cartpole")
