"""Errors of functions name arguments, and those of commands options."""

import pytest

from polserve.training.errors import InvalidOption, PromotionRefused
from polserve.training.wording import as_arguments, by_a_command, naming_arguments


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("choose another --run-dir", "choose another folder"),
        ("--init-from x: expected a folder", "init_from x: expected a folder"),
        ("start the run without --resume", "start the run without resume=True"),
        ("give more --steps, or --set learning_starts=N", 'give more steps, or options={"learning_starts": N}'),
        ("try --set reward_scale=0.1; else", 'try options={"reward_scale": 0.1}; else'),
        ("train with --algo ddpg: wrap it", 'train with algo="ddpg": wrap it'),
        ("--rule not-worse would allow it", 'rule="not-worse" would allow it'),
        ("with --force --reason it is promoted", 'with force_reason="..." it is promoted'),
        ("polserve promote a/VERSION --force --reason ...", 'polserve.promote("a/VERSION", force_reason="...")'),
        ("`polserve rollback a --to 3` makes it", 'polserve.rollback("a", to="3") makes it'),
        ("give --env gym:ID", "give environment gym:ID"),
        ("unless they run with --allow-space-change: its", "unless they run with --allow-space-change: its"),
        ("with --allow-space-change it becomes", "with allow_space_change=True it becomes"),
        ("--set hidden_sizes=64,64, or", 'options={"hidden_sizes": [64, 64]}, or'),
        ("--set NAME=a,b", 'options={"NAME": [a, b]}'),
        ("`polserve promote a/2` makes it", 'polserve.promote("a/2") makes it'),
    ],
)
def test_options_are_told_as_arguments(text: str, told: str) -> None:
    assert as_arguments(text, {"env": "environment"}) == told


@pytest.mark.parametrize(
    "text",
    [
        "a -- b and a--b",
        "`polserve train --list` has the names",
        "run `mine --steps 3`, or `--resume`",
        "runs/--weird and runs/--steps, --steps/x",
        "bad --wind of MyEnv, --set-up",
        "leave out --gif",
    ],
)
def test_what_is_no_argument_stays_as_it_is(text: str) -> None:
    assert as_arguments(text, {"env": "environment"}) == text


def test_an_error_keeps_its_kind_and_what_it_carries() -> None:
    refusal = PromotionRefused("with --force --reason", None)
    with pytest.raises(PromotionRefused, match=r"^with force_reason") as caught, naming_arguments():
        raise refusal
    assert caught.value is refusal


def test_a_command_that_calls_a_function_tells_of_options() -> None:
    with pytest.raises(InvalidOption, match=r"^see --env-kwargs$"), by_a_command(), naming_arguments():
        raise InvalidOption("see --env-kwargs")
