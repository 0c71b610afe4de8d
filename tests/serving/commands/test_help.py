"""What a person reads on 80 columns, or copies from a pipe, is whole."""

from importlib.metadata import entry_points
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.tables import aligned, first_fitting
from polserve.serving.cli import GROUP, build
from polserve.serving.client import LivePolicy
from polserve.serving.commands.policies import layouts
from polserve.serving.settings.settings import FORMS
from polserve.training.runs.presets import PRESETS

COMMANDS = sorted(entry.name for entry in entry_points(group=GROUP))
IMPORTS = ["import sb3", "import cleanrl", "import onnx"]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(*arguments: str) -> str:
    """The help of a command, or of the program."""
    return CliRunner().invoke(build(arguments), [*arguments, "--help"]).output


def parameters(name: str) -> list[Any]:
    """The parameters of a command."""
    command: Any = typer.main.get_command(build([]))
    for part in name.split():
        command = command.commands[part]
    return list(command.params)


@pytest.mark.parametrize("name", ["", *COMMANDS, *IMPORTS])
def test_the_help_is_whole_on_80_columns(name: str) -> None:
    usage, *lines = shown(*name.split()).splitlines()
    assert max(map(len, [usage, *lines])) <= 80
    assert not any(line.endswith(("…", "...")) for line in lines)


@pytest.mark.parametrize("name", [*COMMANDS, *IMPORTS])
def test_the_help_shows_every_flag_and_variable_in_one_piece(name: str) -> None:
    words = shown(*name.split()).replace(";", " ").replace("]", " ").split()
    for parameter in parameters(name):
        if parameter.param_type_name == "option":
            assert set(parameter.opts) <= set(words)
            assert parameter.envvar is None or parameter.envvar in words


def test_the_help_of_serve_shows_the_variable_of_every_setting() -> None:
    words = shown("serve").replace(";", " ").replace("]", " ").split()
    for name, form in FORMS.items():
        assert form.variable in words, name


def test_the_help_of_train_says_where_presets_and_hyper_parameters_are_listed() -> None:
    text = " ".join(shown("train").split())
    assert "--list names them all" in text
    assert "--list has the names" in text


def test_train_lists_every_hyper_parameter_with_its_meaning() -> None:
    listed = CliRunner().invoke(build(["train"]), ["train", "--list"]).output
    assert "cartpole        DQN in CartPole-v1" in listed
    assert all(any(line.split()[:1] == [name] for line in listed.splitlines()) for name in PRESETS)
    assert "learning_rate=0.001\n      Learning rate of Adam (Kingma and Ba 2015), at the start." in listed
    own = CliRunner().invoke(build(["train"]), ["train", "mountaincar", "--set", "discount=0.5", "--list"]).output
    assert "discount=0.5\n      gamma, per step.\n" in own
    assert "actor_learning_rate" not in own
    for recipe in PRESETS.values():
        for config in recipe.configs.values():
            assert all(f"    {name}=" in listed for name in config.__dataclass_fields__)


def test_the_defaults_that_are_listed_are_those_of_each_algorithm() -> None:
    listed = CliRunner().invoke(build(["train"]), ["train", "--list"]).output
    assert "    standardise=true\n" in listed
    assert "    repeat_exponent=2.0\n" in listed
    assert "    scale_by_returns=auto for dqn, pqn; true for ddpg, td3, sac\n" in listed
    of_one = CliRunner().invoke(build(["train"]), ["train", "--algo", "td3", "--list"]).output
    assert "    scale_by_returns=true\n" in of_one
    assert "repeat_exponent" not in of_one


def test_only_settings_that_an_algorithm_uses_are_listed() -> None:
    listed = CliRunner().invoke(build(["train"]), ["train", "--list"]).output
    assert "    quantiles=1 for dqn\n" in listed
    assert "    dueling=false for dqn, pqn\n" in listed
    for algo, unused in (
        ("td3", ("quantiles", "dueling", "padding", "pixels", "mixed_precision")),
        ("pqn", ("quantiles",)),
    ):
        of_one = CliRunner().invoke(build(["train"]), ["train", "--algo", algo, "--list"]).output
        assert "    hidden_sizes=" in of_one
        assert not [name for name in unused if f"    {name}=" in of_one]


def test_a_narrow_terminal_gets_fewer_columns_and_a_pipe_gets_all() -> None:
    evaluation = pb.Evaluation(episodes=100, mean=71979.25, interval_low=70105.1, interval_high=73793.6)
    spec = pb.PolicySpec(environment=pb.Environment(id="polserve/AdBudgetDaily-v0"), evaluation=evaluation)
    live = pb.LivePolicy(
        name="adbudget", versions=[pb.LiveVersion(version="1", spec=spec)], aliases={"champion": "1", "canary": "1"}
    )
    tables = [aligned(rows) for rows in layouts([LivePolicy.of(live)])]
    assert first_fitting(tables, None)[1].split() == [
        *("adbudget/1", "@canary", "@champion", "polserve/AdBudgetDaily-v0"),
        *("71979.2", "70105.1", "to", "73793.6", "0.0"),
    ]
    assert first_fitting(tables, 80)[1].split() == [
        *("adbudget/1", "@canary", "@champion", "polserve/AdBudgetDaily-v0", "71979.2", "0.0")
    ]
    assert first_fitting(tables, 20)[1].split() == ["adbudget/1", "@canary", "@champion", "71979.2"]
