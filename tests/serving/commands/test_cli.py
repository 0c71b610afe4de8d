import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import polserve_here
from tests.support.running import Running, polserve, service, wait_until
from tests.support.versions import make_slow_version


def test_help_lists_every_command() -> None:
    result = polserve_here("--help")
    assert result.returncode == 0
    for command in ("serve", "policies", "act", "train", "evaluate", "promote", "rollback", "play", "bench", "wait"):
        assert f" {command} " in result.stdout


def test_act_prints_the_action_with_its_label_and_the_version(running: Running) -> None:
    result = polserve_here("act", "cartpole", "--observation", "[0, 0, 0, 0]", "--target", running.target)
    assert result.returncode == 0
    assert result.stdout.startswith("action ")
    assert "(push " in result.stdout
    assert result.stdout.endswith("by cartpole/1\n")


def test_act_prints_json_for_a_batch(running: Running) -> None:
    arguments = ("act", "cartpole", "--observation", "[[0, 0, 0, 0], [1, 0, 1, 0]]", "--values", "--json")
    answer = json.loads(polserve_here(*arguments, "--target", running.target).stdout)
    assert len(answer["action"]) == 2
    assert len(answer["values"][0]) == 2
    assert answer["version"] == "1"


@pytest.mark.parametrize(
    "observation", ["[0, 0", "true", '{"a": 1}', '["x"]', "[[1, 2], [3]]", "[{}]", f"[{'9' * 400}]"]
)
def test_an_observation_that_is_no_array_is_bad_usage(running: Running, observation: str) -> None:
    result = polserve_here("act", "cartpole", "--observation", observation, "--target", running.target)
    assert result.returncode == 2
    assert "expected" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_observation_may_be_in_a_file_or_come_by_a_pipe(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state.json").write_text("[[0, 0, 0, 0], [1, 0, 1, 0]]")
    np.save(tmp_path / "state.npy", np.array([[0, 0, 0, 0], [1, 0, 1, 0]], np.float32))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[0, 0, 0, 0]")))
    written = [
        polserve_here("act", "cartpole", "--json", "--observation", given, "--target", running.target).stdout
        for given in (f"@{tmp_path}/state.json", f"@{tmp_path}/state.npy", "-")
    ]
    assert written[0] == written[1]
    assert len(json.loads(written[0])["action"]) == 2
    assert isinstance(json.loads(written[2])["action"], int)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none.json", "expected a file of JSON or numpy"),
        ("latin.json", "expected JSON such as"),
        ("half.json", "Expecting ',' delimiter: line 2 column 1"),
        ("none.npy", "numpy.save"),
        ("text.npy", "numpy.save"),
    ],
)
def test_a_file_without_an_observation_is_bad_usage(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "text.npy").write_text("[0, 0, 0, 0]")
    (tmp_path / "latin.json").write_bytes(b"[\xff]")
    (tmp_path / "half.json").write_text("[0, 0\n0]")
    result = polserve_here("act", "cartpole", "--observation", f"@{tmp_path / name}")
    assert result.returncode == 2
    assert problem in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_what_the_service_refuses_is_one_line_and_exit_code_1(running: Running) -> None:
    result = polserve_here("act", "cartpole", "--observation", "[0, 0]", "--target", running.target)
    assert result.returncode == 1
    assert result.stderr.startswith("error: INVALID_ARGUMENT: observation.shape: expected (4,) or (N, 4), got (2,)")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["cartpole/1", "cartpole@champion"])
def test_a_version_may_be_written_behind_the_name(running: Running, name: str) -> None:
    result = polserve_here("act", name, "--observation", "[0, 0, 0, 0]", "--target", running.target)
    assert result.stdout.endswith("by cartpole/1\n")


@pytest.mark.parametrize("target", ["localhost:", "http://localhost:50051"])
def test_a_target_with_an_empty_port_or_a_scheme_is_bad_usage(target: str) -> None:
    result = polserve_here("policies", "--target", target)
    assert result.returncode == 2
    assert "expected host or host:port" in result.stderr


def test_promote_makes_no_store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = polserve_here("promote", "cartpole")
    assert result.returncode == 1
    assert "MLFLOW_TRACKING_URI is not set and there is no mlflow.db here" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_is_not_there_is_named() -> None:
    result = polserve_here("policies", "--target", "127.0.0.1:1", "--wait", "0")
    assert result.returncode == 1
    missing = (
        r"no polserve answers at 127\.0\.0\.1:1 (after \d s )?\(nobody listens there\); start one with `polserve serve`"
    )
    assert re.search(missing, result.stderr)


def test_policies_prints_a_table_or_json(running: Running) -> None:
    table = polserve_here("policies", "--target", running.target).stdout
    heads, *rows = (line.split() for line in table.splitlines())
    assert heads == ["version", "aliases", "environment", "return", "interval", "random"]
    assert rows[0] == ["cartpole/1", "@champion", "CartPole-v1", "100.0", "99.0", "to", "101.0", "20.0"]
    assert rows[1] == ["frames/1", "@champion", "-", "-", "-", "-"], "a version that nobody evaluated"
    listed = json.loads(polserve_here("policies", "--json", "--target", running.target).stdout)
    assert listed["policies"][0]["versions"][0]["spec"]["algorithm"] == "dqn"


def test_play_plays_whole_episodes_and_draws_one(running: Running, tmp_path: Path) -> None:
    gif = tmp_path / "out.gif"
    result = polserve_here("play", "cartpole", "--episodes", "2", "--gif", str(gif), "--target", running.target)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("by cartpole/1") == 2
    assert gif.read_bytes().startswith(b"GIF89a")


def test_a_command_without_its_extra_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    result = polserve("train", "cartpole", "--run-dir", str(tmp_path), PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "this command needs torch; install it with: pip install 'polserve[training]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "expected a preset (cartpole, mountaincar,"),
        (["train", "chess"], "expected one of cartpole, mountaincar,"),
        (["train", "cartpole", "--env", "X-v0"], "a preset fixes the environment"),
        (["train", "--algo", "dqn", "--env", "CartPole-v1", "--env-kwargs", "[]"], "expected a JSON object"),
        (["train", "--algo", "sarsa", "--env", "CartPole-v1"], "'sarsa' is not"),
        (["promote", "cartpole", "--force"], "--force needs a --reason"),
        (["fly"], "No such command 'fly'"),
        (["wait", "--timeout", "inf"], "'--timeout': expected a finite number, got inf"),
        (["policies", "--wait", "nan"], "'--wait' (env var: 'POLSERVE_WAIT_S'): Input should be"),
        (["bench", "cartpole", "--rate", "inf"], "'--rate': expected a finite number, got inf"),
        (["watch", "--interval", "1e300"], "'--interval'"),
        (["act", "cartpole/1", "--version", "2", "--observation", "[0]"], "expected a version once"),
    ],
)
def test_bad_usage_exits_2(arguments: list[str], message: str) -> None:
    result = polserve_here(*arguments)
    assert result.returncode == 2
    assert message in result.stderr.replace("│", "").replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["train", "--algo", "dqn", "--env", "CartPol-v1"], 1, "near it:"),
        (["train", "--algo", "dqn", "--env", "Pendulum-v1"], 1, "DQN needs actions in Discrete(n)"),
        (
            ["train", "cartpole", "--set", "speed=1"],
            2,
            "expected a hyper-parameter of this algorithm, got 'speed'; `polserve train",
        ),
        (["train", "cartpole", "--name", "a/b"], 2, "name: expected letters, digits"),
        (["train", "cartpole", "--run-dir", "/dev/null/x"], 1, "cannot be written to (Not a directory)"),
        (["evaluate", "go"], 1, "no bundled policy 'go'"),
        (["evaluate", "cartpole@best"], 1, "no bundled policy 'cartpole@best'"),
    ],
)
def test_what_a_user_can_cause_is_one_line(arguments: list[str], exit_code: int, message: str) -> None:
    result = polserve_here(*arguments)
    assert result.returncode == exit_code
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_random_agent_is_evaluated_like_any_policy() -> None:
    arguments = ("evaluate", "cartpole", "--policy", "random", "--episodes", "20", "--json")
    summaries = json.loads(polserve(*arguments).stdout)
    assert summaries.keys() == {"random"}
    assert 15 < summaries["random"]["mean"] < 35


def test_bench_counts_calls_and_tells_their_latency(running: Running) -> None:
    loads = (["--concurrency", "8"], ["--rate", "200"], ["--batch", "7"])
    for load in loads:
        result = polserve_here("bench", "cartpole", "--target", running.target, "--duration", "0.5", "--json", *load)
        assert result.returncode == 0, result.stderr
        figures = json.loads(result.stdout)
        assert set(figures["codes"]) == {"OK"}
        latencies = list(figures["latency_ms"].values())
        assert list(figures["latency_ms"]) == ["0.5", "0.9", "0.99", "0.999", "1"]
        assert latencies == sorted(latencies)
        if "--rate" in load:
            assert figures["calls"] == pytest.approx(100, abs=2), "so many became due"
    result = polserve_here("bench", "frames@champion", "--target", running.target, "--duration", "0.2")
    assert "calls answered in" in result.stdout
    assert "p99.9" in result.stdout


def test_bench_counts_failures_by_their_status_and_waiting_as_latency(tmp_path: Path) -> None:
    make_slow_version(3000).write(tmp_path / "policies" / "slow" / "1")
    with service("--policies", str(tmp_path / "policies"), "--max-waiting", "2", folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        load = ("--concurrency", "64", "--duration", "0.5")
        result = polserve_here("bench", "slow", "--target", running.target, "--json", *load)
        assert {"OK", "RESOURCE_EXHAUSTED"} == set(json.loads(result.stdout)["codes"])
    result = polserve_here("bench", "cartpole", "--target", running.target, "--wait", "0")
    assert result.returncode == 1
    assert "no polserve answers at" in result.stderr
