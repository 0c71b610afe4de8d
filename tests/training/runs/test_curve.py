"""Every run leaves its learning curve as a file, and TensorBoard's event files where they are asked for."""

import csv
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polserve.serving.cli import build
from polserve.training.errors import CheckpointError, InvalidOption
from polserve.training.learning.progress import Progress, TrainingFigures
from polserve.training.runs.curve import COLUMNS, FILE_NAME, LearningCurve
from polserve.training.runs.preflight import Beginning, check_beginning
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.progress import Standing
from polserve.training.runs.request import TrainRequest
from polserve.training.runs.tensorboard import FOLDER, EventFiles


def standing(step: int, recent: float | None = None, greedy: float | None = None) -> Standing:
    progress = Progress(step, 1_000, 2 * step, step // 10, greedy, is_report_due=True)
    metrics = {} if greedy is None else {"charts/greedy_return": greedy}
    return Standing(progress, TrainingFigures(recent, 1.0, 1.0, metrics), step / 100)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / FILE_NAME).open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_report_is_a_line_with_steps_of_both_kinds_and_the_latest_scores(tmp_path: Path) -> None:
    curve = LearningCurve(tmp_path, 0)
    curve.add(standing(100))
    curve.add(standing(200, 12.5, 20.0))
    first, second = rows(tmp_path)
    assert tuple(first) == COLUMNS
    assert list(first.values()) == ["100", "200", "10", "1.0", "", ""]
    assert list(second.values()) == ["200", "400", "20", "2.0", "12.5", "20"]


def test_a_resumed_run_goes_on_after_the_lines_up_to_its_checkpoint(tmp_path: Path) -> None:
    curve = LearningCurve(tmp_path, 0)
    for step in (100, 200, 300):
        curve.add(standing(step, 1.0))
    (tmp_path / FILE_NAME).write_text((tmp_path / FILE_NAME).read_text() + "400,8")  # a line cut off by a crash
    again = LearningCurve(tmp_path, 200)
    again.add(standing(280, 2.0))
    assert [(row["step"], row["training_return"]) for row in rows(tmp_path)] == [
        ("100", "1"),
        ("200", "1"),
        ("280", "2"),
    ]
    LearningCurve(tmp_path, 0)
    assert rows(tmp_path) == [], "a run that begins writes its own"


def test_a_step_has_one_line_which_holds_what_is_known_last(tmp_path: Path) -> None:
    curve = LearningCurve(tmp_path, 0)
    for at in (standing(100, 1.0), standing(200, 123.25), standing(200, 2.0, 20.0)):
        curve.add(at)
    LearningCurve(tmp_path, 200).add(standing(200, 3.0))
    assert [(row["step"], row["training_return"]) for row in rows(tmp_path)] == [("100", "1"), ("200", "3")]


def test_a_curve_that_is_deleted_or_renamed_during_the_run_begins_anew(tmp_path: Path) -> None:
    curve = LearningCurve(tmp_path, 0)
    curve.add(standing(100))
    (tmp_path / FILE_NAME).unlink()
    curve.add(standing(100))
    assert [row["step"] for row in rows(tmp_path)] == ["100"]
    (tmp_path / FILE_NAME).rename(tmp_path / "mine.csv")
    for step in (200, 300):
        curve.add(standing(step))
    assert [row["step"] for row in rows(tmp_path)] == ["200", "300"]


def test_a_curve_that_cannot_be_written_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(CheckpointError, match=r"learning_curve.csv cannot be written \(Is a directory\); make room"):
        LearningCurve(tmp_path, 0)


def test_event_files_hold_the_metrics_at_their_steps(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = EventFiles(tmp_path, 0)
    events.add({"losses/td": 0.5}, 100)
    events.add({"losses/td": 0.25}, 200)
    events.close()
    found = accumulator.EventAccumulator(str(tmp_path / FOLDER))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("losses/td")] == [(100, 0.5), (200, 0.25)]


def test_a_missing_package_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InvalidOption, match=r"pip install 'polserve\[training,tensorboard\]'"):
        check_beginning(PRESETS["cartpole"], Beginning(tmp_path, has_tensorboard=True))


@pytest.mark.parametrize(
    ("algo", "own"), [("td3", "twin_critics=true"), ("sac", "target_entropy="), ("dqn", "epsilon")]
)
def test_help_after_an_algorithm_lists_what_set_takes_for_it(algo: str, own: str) -> None:
    answer = CliRunner().invoke(build(["train"]), ["train", "--algo", algo, "--help"])
    assert answer.exit_code == 0, answer.output
    assert f"with the defaults of --algo {algo}" in answer.output
    assert own in answer.output
    assert "standardise=true" in answer.output
    assert all(len(line) <= 120 for line in answer.output.splitlines())
    assert own not in CliRunner().invoke(build(["train"]), ["train", "--help"]).output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--algo", "dqn", "--env", "ALE/Pong-v5", "--set", "discount=0.5", "--steps", "1234"),
        ("--env", "ALE/Pong-v5", "--steps", "1234", "--set", "discount=0.5", "--algo", "dqn"),
    ],
)
def test_help_shows_the_settings_that_the_run_will_have(arguments: tuple[str, ...]) -> None:
    told, listed = (CliRunner().invoke(build(["train"]), ["train", *arguments, how]) for how in ("--help", "--list"))
    assert "pong-v5: QR-DQN in ALE/Pong-v5. --set takes, with these values:" in told.output
    for setting in ("epsilon_end=0.01", "epsilon_steps=300000", "adam_epsilon=1e-05", "discount=0.5", "steps=1234"):
        assert f"  {setting}\n" in told.output
    settings = [line.strip() for line in listed.output.splitlines() if line.startswith("    ") and line[4] != " "]
    assert settings == [line for line in map(str.strip, told.output.splitlines()) if line in settings]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--env", "Mine-v0", "--set", "speed=3"), "speed"),
        (("--env", "ALE/Pong-v5", "--set", "quantiles=abc"), "quantiles"),
        (("--env", "Mine-v0", "--env-kwargs", "{"), "--env-kwargs: expected a JSON object"),
    ],
)
def test_help_is_shown_where_the_run_would_be_refused(wrong: tuple[str, ...], said: str) -> None:
    answer = CliRunner().invoke(build(["train"]), ["train", "--algo", "dqn", *wrong, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "    epsilon_end=0.05\n" in answer.output
    refusal = answer.output[answer.output.index("This run would be refused: ") :]
    assert said in refusal[: refusal.index("--set NAME=VALUE takes")]
    assert "add --env" not in refusal


def test_a_run_without_help_does_not_make_what_help_would_say(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[TrainRequest] = []

    def make(request: TrainRequest) -> None:
        made.append(request)

    monkeypatch.setattr(TrainRequest, "recipe", make)
    monkeypatch.setattr("polserve.training.commands.listing.listing", lambda _recipe: ["settings"])
    arguments = ["train", "--algo", "dqn", "--env", "CartPole-v1", "--set", "discount=0.5", "--list"]
    assert CliRunner().invoke(build(["train"]), arguments).output == "settings\n"
    assert len(made) == 1
