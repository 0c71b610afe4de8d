"""Two who move the alias at once: one wins, the other learns it."""

import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from polserve.protos.shared.alias_history import HISTORY_TAG
from polserve.protos.shared.names import CHAMPION, SHA256_TAG
from polserve.training.errors import RaceLost
from polserve.training.registry import aliases
from polserve.training.registry.aliases import INTENT_TAG, AliasMove, ChampionAlias, Intent, mover
from tests.support.promoting import champion, decision_run, history
from tests.support.running import ROOT, environment

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import and use

PROGRAM = """
import sys
import polserve.training.promotion.candidacy
from polserve.serving.cli import build

name = sys.argv[1]
app = build(["promote"])
print("ready", flush=True)
sys.stdin.readline()
try:
    app(["promote", name, "--force", "--reason", "a race"], standalone_mode=False)
except Exception as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def move(policy: str, version: str, by: str = "a test", replaces: str | None = "1") -> AliasMove:
    return AliasMove(policy, version, replaces, by)


def intent(policy: str, store: MlflowClient, age_s: float) -> None:
    """Somebody wanted to move the alias to version 2, so long ago."""
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(timespec="seconds")
    text = {"token": "theirs", "version": "2", "replaces": "1", "by": "another@elsewhere", "at": at}
    store.set_registered_model_tag(policy, INTENT_TAG, json.dumps(text))


@pytest.fixture
def three(store: MlflowClient, policy: str, registered: str) -> str:
    """A policy with two candidates, versions 2 and 3."""
    copied = store.copy_model_version(f"models:/{registered}/2", policy)
    sha256 = store.get_model_version(registered, "2").tags[SHA256_TAG]
    store.set_model_version_tag(policy, str(copied.version), SHA256_TAG, sha256)
    return policy


def test_of_two_processes_that_promote_at_once_one_wins_and_the_other_says_who(
    mlflow_url: str, store: MlflowClient, three: str, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    env = environment(MLFLOW_TRACKING_URI=mlflow_url, PYTHONPATH=str(ROOT))
    racers = {
        version: subprocess.Popen(
            [sys.executable, script, f"{three}/{version}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        for version in ("2", "3")
    }
    for racer in racers.values():
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    said: dict[str, tuple[str, str]] = {}

    def run(version: str) -> None:
        said[version] = racers[version].communicate("go\n", timeout=60)

    threads = [threading.Thread(target=run, args=(version,)) for version in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = {version: racer.returncode for version, racer in racers.items()}
    winner = champion(store, three)
    (loser,) = {"2", "3"} - {winner}
    assert codes == {winner: 0, loser: 1}, said
    assert (
        f"{three}/{loser} did not become @champion: version {winner} is, moved by polserve promote by"
        in (said[loser][1])
    )
    assert [each.version for each in history(store, three)] == ["1", winner]
    assert INTENT_TAG not in store.get_registered_model(three).tags
    assert decision_run(store, three, loser).data.tags["decision"] == "lost"
    assert store.get_model_version(three, loser).tags["polserve.promotion"].startswith("lost 20")


def test_an_alias_moved_while_the_games_were_played_stays_where_it_was_moved(store: MlflowClient, three: str) -> None:
    store.set_registered_model_alias(three, CHAMPION, "2")
    with pytest.raises(RaceLost, match="version 2 is, moved by somebody by hand, while it stood at 1"):
        ChampionAlias(store).move(move(three, "3"))
    assert champion(store, three) == "2"
    assert INTENT_TAG not in store.get_registered_model(three).tags


def test_a_deleted_alias_is_not_set_again(store: MlflowClient, policy: str) -> None:
    store.delete_registered_model_alias(policy, CHAMPION)
    with pytest.raises(RaceLost, match="there is no @champion any more"):
        ChampionAlias(store).move(move(policy, "2"))


def test_whoever_stands_in_line_is_named(store: MlflowClient, three: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "OUTCOME_TIMEOUT_S", 0.0)
    intent(three, store, age_s=30)
    with pytest.raises(RaceLost, match=r"another@elsewhere is moving it to 2 since 20.*; look again in a minute"):
        ChampionAlias(store).move(move(three, "3"))
    assert champion(store, three) == "1"
    assert "another@elsewhere" in store.get_registered_model(three).tags[INTENT_TAG], "theirs stands"


@pytest.mark.parametrize("damaged", ["", "{", '{"token": 1}', '["a"]'])
def test_an_intent_of_a_process_that_died_or_that_nobody_can_read_does_not_stand(
    store: MlflowClient, policy: str, damaged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aliases, "SETTLE_S", 0.0)
    if damaged:
        store.set_registered_model_tag(policy, INTENT_TAG, damaged)
    else:
        intent(policy, store, age_s=61)
    ChampionAlias(store).move(move(policy, "2"))
    assert champion(store, policy) == "2"


def test_one_that_wrote_its_intent_later_wins(store: MlflowClient, three: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found none; the other's is written while ours settles, and it moves the alias."""

    def settle(_: float) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        store.delete_registered_model_tag(three, INTENT_TAG)  # which both had found empty
        ChampionAlias(store).move(move(three, "2", "another@elsewhere"))

    monkeypatch.setattr(time, "sleep", settle)
    with pytest.raises(RaceLost, match="version 2 is, moved by another@elsewhere"):
        ChampionAlias(store).move(move(three, "3"))
    assert champion(store, three) == "2"


def test_a_champion_that_nobody_wrote_down_is_written_down_before_it_is_replaced(
    store: MlflowClient, three: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aliases, "SETTLE_S", 0.0)
    store.set_registered_model_alias(three, CHAMPION, "2")
    ChampionAlias(store).move(move(three, "3", replaces="2"))
    assert [(each.version, each.by) for each in history(store, three)[1:]] == [("2", "seen by a test"), ("3", "a test")]


def test_a_damaged_history_is_begun_anew(store: MlflowClient, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "SETTLE_S", 0.0)
    store.set_registered_model_tag(policy, HISTORY_TAG, '["1"]')
    ChampionAlias(store).move(move(policy, "2"))
    assert [each.version for each in history(store, policy)] == ["1", "2"]


def test_the_record_names_the_command_the_user_and_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "another")
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert mover("polserve promote") == "polserve promote by another@elsewhere"


def test_an_intent_from_a_clock_that_is_far_ahead_does_not_stand_for_ever() -> None:
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    assert not Intent("token", "2", "1", "another", at).is_fresh
