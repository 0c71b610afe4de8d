"""A wrong argument is told before the libraries are imported that take seconds: here they cannot be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import ROOT, environment

SCRIPT = """
import contextlib, io, json, os, sys
heavy = ("torch", "mlflow", "onnx", "onnxruntime", "matplotlib", "scipy")
sys.modules.update(dict.fromkeys(heavy))
from polserve.serving.cli import main
told = []
for arguments, uri in json.load(sys.stdin):
    os.environ["MLFLOW_TRACKING_URI"] = uri
    sys.argv = ["polserve", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as text:
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
    told.append([code, text.getvalue()])
json.dump(told, sys.stdout)
"""
OF_ITS_OWN = ("train", "--algo", "dqn", "--env")
CASES = [
    (("train", "chess"), "", 2, "expected one of cartpole, mountaincar"),
    (
        ("train", "cartpole", "--set", "speed=1"),
        "",
        2,
        "expected a hyper-parameter of this algorithm, got 'speed'; `polserve train",
    ),
    (("train", "cartpole", "--set", "lr=1"), "", 2, "got 'lr'; did you mean learning_rate? `polserve train --list`"),
    (("train", "cartpole", "--set", "batch_sise=1"), "", 2, "did you mean batch_size?"),
    (("train", "cartpole", "--set", "batch_size"), "", 2, "expected name=value, such as n_envs=8, got 'batch_size'"),
    (("train", "cartpole", "--set", "batch_size=many"), "", 2, "batch_size: expected int, got 'many'"),
    (("train", "cartpole", "--set", "discount=2"), "", 2, "discount: expected a number from 0 to 1, got 2.0"),
    (("train", "cartpole", "--seed", "-1"), "", 2, "seed: expected 0 to 9223372036854775807, got -1"),
    (("train", "cartpole", "--name", "a/b"), "", 2, "name: expected letters, digits"),
    (("train", "cartpole", "--run-dir", "/dev/null/x"), "", 1, "cannot be written to (Not a directory)"),
    (("train", "cartpole", "--run-dir", "empty", "--resume"), "", 1, "no checkpoint in empty"),
    (("train", "cartpole", "--init-from", "."), "", 1, "--init-from .: expected a folder with checkpoint.pt"),
    (("train", "cartpole", "--init-from", "nowhere"), "", 2, "nowhere"),
    (("train", "adbudget", "--data", "none.csv"), "", 2, "none.csv"),
    (("train", "cartpole", "--data", "script.py"), "", 2, "data is an account's history, for adbudget"),
    ((*OF_ITS_OWN, "CartPol-v1"), "", 1, "no environment 'CartPol-v1' is registered"),
    ((*OF_ITS_OWN, "Pendulum-v1"), "", 1, "DQN needs actions in Discrete(n)"),
    ((*OF_ITS_OWN, "CartPole-v1", "--env-kwargs", "{"), "", 2, "--env-kwargs: expected a JSON object"),
    ((*OF_ITS_OWN, "CartPole-v1", "--env-kwargs", '{"wind": 1}'), "", 2, "does not take the arguments"),
    (("train", "cartpole"), "htp://x", 1, "got the scheme 'htp'; run `mlflow server`"),
    (("train", "cartpole"), "localhost:5000", 1, "which has no scheme; http://localhost:5000 may be what is meant"),
    (("evaluate", "cartpole"), "http://host:99999", 1, "expected http://HOST:PORT, got 'http://host:99999'"),
    (("evaluate", "go"), "", 1, "no bundled policy 'go'"),
    (("promote", "cartpole"), "sqlite:////nowhere/mlflow.db", 1, "expected a database in a folder that exists"),
    (("rollback", "cartpole"), "http://", 1, "which names no host"),
    (("rollback", "cartpole"), "", 1, "MLFLOW_TRACKING_URI is not set and there is no mlflow.db here"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are given."""
    return tmp_path_factory.mktemp("preflight")


@pytest.fixture(scope="module")
def told(folder: Path) -> list[tuple[int, str]]:
    """Exit code and standard error of each case, in one process."""
    (folder / "script.py").write_text(SCRIPT)
    result = subprocess.run(
        [sys.executable, "script.py"],
        input=json.dumps([(arguments, uri) for arguments, uri, _, _ in CASES]),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(COLUMNS="300", PYTHONPATH=str(ROOT)),
    )
    assert result.returncode == 0, result.stderr
    return [(code, text) for code, text in json.loads(result.stdout)]


@pytest.mark.parametrize("index", range(len(CASES)), ids=[" ".join((*case[0], case[1])) for case in CASES])
def test_a_wrong_argument_is_told_without_the_heavy_libraries(told: list[tuple[int, str]], index: int) -> None:
    _, _, exit_code, message = CASES[index]
    code, text = told[index]
    assert message in text
    assert code == exit_code


@pytest.mark.usefixtures("told")
def test_a_refused_run_leaves_no_folder(folder: Path) -> None:
    assert not (folder / "runs").exists()
