"""The flags of `polserve serve` are read alike with and without typer."""

from typing import Any

import pytest
from typer.testing import CliRunner

from polserve.serving.cli import build
from polserve.serving.commands import serve
from polserve.serving.commands.flags import read_flags
from polserve.serving.settings.settings import FORMS, load_settings

EVERY = [
    word
    for form in FORMS.values()
    for word in ([form.flag] if form.is_switch else [form.flag, "7"])
    if form.name not in {"policies", "mlflow_tracking_uri"}
]
"""Every flag, each with a value where it takes one."""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        EVERY,
        ["--grpc-port", "0", "--http-port=0"],
        ["--policy", "cartpole", "--policy=a,b"],
        ["--no-console", "--insecure"],
        ["--console", "--no-console"],
        ["--workers", "1", "--workers", "2"],
        ["--seed", "-1"],
        ["--service="],
        ["--tracking-uri=http://m/?a=b"],
    ],
)
def test_they_give_the_same(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    by_typer: list[dict[str, Any]] = []
    monkeypatch.setattr(serve, "launch", by_typer.append)
    result = CliRunner().invoke(build(["serve"]), ["serve", *arguments])
    assert result.exit_code == 0, result.output
    given = read_flags(arguments)
    assert given is not None
    assert [{name: value for name, value in one.items() if value is not None} for one in by_typer] == [given]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--nonsense"],
        ["stray"],
        ["--"],
        ["--grpc-port"],
        ["--console=yes"],
        ["--policies", "--no-console"],
        ["-h"],
    ],
)
def test_what_is_no_plain_flag_with_its_value_is_left_to_typer(arguments: list[str]) -> None:
    assert read_flags(["--workers", "1", *arguments]) is None


def test_what_is_given_is_taken_as_settings() -> None:
    given = read_flags(["--grpc-port=0", "--http-port", "0", "--no-console", "--policy", "a", "--policy", "b,c"])
    assert given is not None
    settings = load_settings(given)
    assert (settings.grpc_port, settings.http_port, settings.console) == (0, 0, False)
    assert settings.policy == ("a", "b", "c")
