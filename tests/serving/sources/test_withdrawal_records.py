"""A version that was withdrawn stays so after a new start, also where no registry could be told."""

import errno
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from mlflow import MlflowClient

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2_grpc
from polserve.protos.shared.names import CHAMPION
from polserve.protos.shared.promotions import ROLLOUT_TAG, WITHDRAWN_TAG
from polserve.serving.rollout import Rollout
from polserve.serving.sources.cache import VersionCache
from polserve.serving.sources.folder_source import FolderSource
from polserve.serving.sources.follower import Follower, last_good
from polserve.serving.sources.follower_config import FollowerConfig
from polserve.serving.sources.registry import Registry
from polserve.serving.sources.registry_source import RegistrySource
from polserve.serving.sources.withdrawal_records import FOLDER, WithdrawalRecord, WithdrawalRecords
from polserve.serving.versions import DesiredVersions, RolloutResult, VersionRef
from tests.support.children import children_of
from tests.support.disks import small_disk
from tests.support.following import promoted
from tests.support.local_workers import LoaderOnly, validate_here
from tests.support.proxy import Proxy, none, proxy, read_only
from tests.support.running import Running, service, wait_until
from tests.support.trapped import TRIGGER, make_trapped_version
from tests.support.versions import make_version

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

RECORD = WithdrawalRecord("go", "7", "a" * 64, "2026-11-26T10:00:00Z", "it ran away")


def withdrawn(ref: VersionRef) -> RolloutResult:
    return RolloutResult(ref.policy, ref.version, "it ran away", is_withdrawn=True, is_final=True, sha256=ref.sha256)


def test_a_record_outlasts_its_process_and_names_one_model(tmp_path: Path) -> None:
    WithdrawalRecords(tmp_path).add(RECORD)
    records = WithdrawalRecords(tmp_path)
    assert records.find("go", "7", "a" * 64) == RECORD
    assert records.find("go", "7", "b" * 64) is None, "another model under the same number"
    assert records.find("go", "8", "a" * 64) is None


def test_a_version_is_forgotten_when_it_is_dropped_or_its_file_deleted(tmp_path: Path) -> None:
    records = WithdrawalRecords(tmp_path)
    for is_dropped in (True, False):
        records.add(RECORD)
        if is_dropped:
            records.drop("go", "7")
        else:
            (tmp_path / FOLDER / "go@7.json").unlink()
        records.look_again()
        assert records.of("go") == WithdrawalRecords(tmp_path).of("go") == []


def test_only_versions_that_are_still_named_stay_on_record(tmp_path: Path) -> None:
    records = WithdrawalRecords(tmp_path)
    records.add(RECORD)
    records.drop_others("chess", {})
    records.drop_others("go", {"7": "a" * 64, "8": "b" * 64})
    assert records.of("go") == [RECORD]
    records.drop_others("go", {"7": "b" * 64})
    assert WithdrawalRecords(tmp_path).of("go") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"policy": "go"}'])
def test_a_damaged_record_withdraws_nothing_and_hides_no_other(tmp_path: Path, text: str) -> None:
    WithdrawalRecords(tmp_path).add(RECORD)
    (tmp_path / FOLDER / "chess@1.json").write_text(text)
    assert WithdrawalRecords(tmp_path).of("go") == [RECORD]


def test_what_cannot_be_read_for_a_moment_stays_withdrawn(tmp_path: Path) -> None:
    records = WithdrawalRecords(tmp_path)
    records.add(RECORD)
    path = tmp_path / FOLDER / "go@7.json"
    path.unlink()
    path.mkdir()
    records.look_again()
    assert records.of("go") == [RECORD]
    path.rmdir()
    (tmp_path / FOLDER).rmdir()
    (tmp_path / FOLDER).touch()
    records.look_again()
    assert records.of("go") == [RECORD]
    (tmp_path / FOLDER).unlink()
    records.look_again()
    assert records.of("go") == []


def test_a_version_is_forgotten_though_its_file_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, *, missing_ok: bool) -> None:
        raise OSError(errno.EROFS, f"read-only, {missing_ok}")

    records = WithdrawalRecords(tmp_path)
    records.add(RECORD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        records.drop("go", "7")
        for _ in range(2):
            records.look_again()
            assert records.of("go") == []
    assert list((tmp_path / FOLDER).iterdir())
    records.look_again()
    assert not list((tmp_path / FOLDER).iterdir())


def test_a_record_for_which_there_is_no_room_is_written_when_there_is(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        filling = disk / "filling"
        filling.write_bytes(bytes(2**20))
        records = WithdrawalRecords(disk)
        records.add(RECORD)
        assert not records.is_saved("go", "7")
        records.look_again()
        assert records.of("go") == [RECORD], "kept in memory meanwhile"
        filling.unlink()
        records.look_again()
        assert records.is_saved("go", "7")
        assert WithdrawalRecords(disk).of("go") == [RECORD]


@pytest.fixture
def proxied(mlflow_url: str) -> Iterator[Proxy]:
    """A proxy before the registry, which lets nobody write until a test says so."""
    with proxy(mlflow_url) as running:
        running.fault = read_only
        yield running


def follower(proxied: Proxy, policy: str, folder: Path) -> Follower:
    return Follower(config(proxied, policy, folder), Registry(proxied.url), VersionCache(folder))


def config(proxied: Proxy, policy: str, folder: Path) -> FollowerConfig:
    return FollowerConfig(proxied.url, (policy,), (CHAMPION,), 1e-3, str(folder), 2**30, "tests")


def run_away(first: Follower, policy: str) -> VersionRef:
    """Have a follower hear that the champion was live, and then withdrawn."""
    ref = first.desired()[policy][CHAMPION]
    first.record([RolloutResult(policy, "1")], {policy: {CHAMPION: "1"}})
    result = withdrawn(ref)
    first.record([result], {policy: {}})
    assert first.has_kept(result)
    return ref


def test_a_registry_that_may_only_be_read_gets_the_tag_when_it_may_be_written(
    proxied: Proxy, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    run_away(follower(proxied, policy, tmp_path), policy)
    assert last_good(config(proxied, policy, tmp_path), VersionCache(tmp_path)) == {}
    assert WITHDRAWN_TAG + "tests" not in store.get_model_version(policy, "1").tags
    second = follower(proxied, policy, tmp_path)
    assert second.desired()[policy][CHAMPION].withdrawn.endswith("it ran away")

    proxied.fault = none
    third = follower(proxied, policy, tmp_path)
    assert third.desired()[policy][CHAMPION].withdrawn.endswith("it ran away")
    tags = store.get_model_version(policy, "1").tags
    assert tags[WITHDRAWN_TAG + "tests"] == tags[ROLLOUT_TAG + "tests"]
    assert tags[WITHDRAWN_TAG + "tests"].startswith("withdrawn 20")
    assert not list((tmp_path / FOLDER).iterdir()), "the registry keeps it now"
    assert follower(proxied, policy, tmp_path).desired()[policy][CHAMPION].withdrawn
    store.delete_model_version_tag(policy, "1", WITHDRAWN_TAG + "tests")
    assert not follower(proxied, policy, tmp_path).desired()[policy][CHAMPION].withdrawn


def test_the_same_follower_writes_the_tag_later_too(
    proxied: Proxy, store: MlflowClient, policy: str, tmp_path: Path
) -> None:
    first = follower(proxied, policy, tmp_path)
    run_away(first, policy)
    proxied.fault = none
    wait_until(lambda: bool(first.desired()) and WITHDRAWN_TAG + "tests" in store.get_model_version(policy, "1").tags)


def test_a_follower_that_is_killed_before_it_heard_of_a_withdrawal_has_its_successor_told(
    proxied: Proxy, policy: str, tmp_path: Path
) -> None:
    source = RegistrySource(config(proxied, policy, tmp_path))
    found = source.follow()
    ref = next(found)[policy][CHAMPION]
    listening = threading.Thread(target=lambda: list(found), daemon=True)
    listening.start()
    try:
        (child,) = children_of(os.getpid(), "follower_process")
        os.kill(child, signal.SIGSTOP)
        source.tell([withdrawn(ref)], {policy: {}})
        os.kill(child, signal.SIGKILL)
        path = tmp_path / FOLDER / f"{policy}@1.json"
        wait_until(path.exists)
    finally:
        source.close()
        listening.join()


@pytest.mark.parametrize("how", ["alias", "promotion", "file"])
def test_a_withdrawal_that_no_registry_knows_of_can_be_lifted(
    proxied: Proxy, store: MlflowClient, policy: str, tmp_path: Path, how: str
) -> None:
    first = follower(proxied, policy, tmp_path)
    run_away(first, policy)
    if how == "alias":
        for number in ("2", "1"):
            store.set_registered_model_alias(policy, CHAMPION, number)
            first.desired()
    elif how == "promotion":
        record = WithdrawalRecords(tmp_path).of(policy)[0]
        path = tmp_path / FOLDER / f"{policy}@1.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "at": "2020-01-01T00:00:00Z"}))
        assert record.at > "2020"
        promoted(store, policy, "2", "away")
        promoted(store, policy, "1", "and back")
    else:
        (tmp_path / FOLDER / f"{policy}@1.json").unlink()
    assert not follower(proxied, policy, tmp_path).desired()[policy][CHAMPION].withdrawn
    assert not list((tmp_path / FOLDER).iterdir())


def looks(folder: Path, state: Path) -> list[DesiredVersions]:
    """What a source that starts anew desires, one after another, until nothing changes."""
    source = FolderSource(folder, [], 0.01, state)
    found = source.follow()
    seen = [next(found)]
    if not seen[0].get("cartpole") or seen[0]["cartpole"][CHAMPION].version != "3":
        seen.append(next(found))
    return seen


def test_in_a_folder_the_highest_version_that_was_not_withdrawn_answers_after_a_new_start(tmp_path: Path) -> None:
    folder, state = tmp_path / "policies", tmp_path / "state"
    for number in ("1", "2", "3"):
        make_version(int(number)).write(folder / "cartpole" / number)
    (first,) = looks(folder, state)
    source = FolderSource(folder, [], 0.01, state)
    source.tell([withdrawn(first["cartpole"][CHAMPION])], {})
    before, desired = looks(folder, state)
    assert before["cartpole"][CHAMPION].version == "2"
    marked = desired["cartpole"][CHAMPION]
    path = state / FOLDER / "cartpole@3.json"
    assert marked.version == "3"
    assert marked.withdrawn.endswith(f", it ran away; to have it tried again, delete {path}")
    source.tell([withdrawn(before["cartpole"][CHAMPION])], {})
    assert looks(folder, state)[0]["cartpole"][CHAMPION].version == "1"
    path.unlink()
    assert looks(folder, state) == [first]


def test_services_that_share_their_records_fall_back_together(tmp_path: Path) -> None:
    folder, state = tmp_path / "policies", tmp_path / "state"
    for number in ("1", "2"):
        make_version(int(number)).write(folder / "cartpole" / number)
    sources = [FolderSource(folder, [], 0.01, state) for _ in range(2)]
    followed = [source.follow() for source in sources]
    (ref, _) = (next(found)["cartpole"][CHAMPION] for found in followed)
    for source in sources:
        source.tell([], {"cartpole": {CHAMPION: "2"}})
    sources[0].tell([withdrawn(ref)], {"cartpole": {}})
    for source, found in zip(sources, followed, strict=True):
        assert next(found)["cartpole"][CHAMPION].version == "1"
        assert next(found)["cartpole"][CHAMPION].withdrawn
        anew = FolderSource(folder, [], 0.01, state)
        assert anew.desired_at_once() == next(anew.follow())
        assert anew.desired_at_once()["cartpole"][CHAMPION].version == "1"
        source.close()


def test_what_is_withdrawn_is_told_once_though_its_source_marks_it_later(tmp_path: Path) -> None:
    told: list[str] = []

    def audit(event: str, **_fields: object) -> None:
        told.append(event)

    rollout = Rollout(validate_here, LoaderOnly(), is_list_fixed=False, audit=audit)
    version = make_version()
    version.write(tmp_path / "policies" / "cartpole" / "1")
    source = FolderSource(tmp_path / "policies", [], 0.01, tmp_path / "state")
    found = source.follow()
    rollout.apply(next(found))
    result = rollout.withdraw("cartpole", "1", version.sha256, "it ran away")
    assert result is not None
    source.tell([result], rollout.aliases)
    rollout.apply(next(found))
    assert rollout.withdrawn() == [{"policy": "cartpole", "version": "1", "reason": "it ran away"}]
    assert "version_still_withdrawn" not in told
    (tmp_path / "state" / FOLDER / "cartpole@1.json").unlink()
    rollout.apply(next(found))
    assert rollout.aliases == {"cartpole": {CHAMPION: "1"}}


def test_a_version_of_a_folder_that_ran_away_does_not_answer_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    make_version().write(folder / "cartpole" / "1")
    make_trapped_version("turns").write(folder / "cartpole" / "2")
    cache = ("--cache-dir", str(tmp_path / "cache"))
    options = ("--policies", str(folder), *cache, "--poll-interval", "0.1", "--run-limit", "0.5", "--max-runaways", "1")

    def champion(running: Running) -> object:
        return running.ready()["policies"].get("cartpole", {}).get("champion")

    with service(*options, folder=tmp_path) as running:
        wait_until(lambda: champion(running) == "2", running.log)
        with grpc.insecure_channel(running.target) as channel:
            request = pb.ActRequest(policy="cartpole", observation=pb.Tensor(values=[TRIGGER] * 4))
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                policy_pb2_grpc.PolicyServiceStub(channel).Act(request, timeout=60)
        wait_until(lambda: list(tmp_path.glob(f"cache/*/{FOLDER}/cartpole@2.json")) != [], running.log)
    with service(*options, folder=tmp_path) as running:
        wait_until(lambda: "withdrawn" in running.ready_page()[1], running.log)
        assert champion(running) == "1"
        (told,) = running.ready()["withdrawn"]
        assert (told["version"], "1 runs that had to be ended" in told["reason"]) == ("2", True)
        Path(told["reason"].rpartition(" ")[2]).unlink()
        wait_until(lambda: champion(running) == "2", running.log)
