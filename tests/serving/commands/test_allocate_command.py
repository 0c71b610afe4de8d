"""`polserve allocate`: what it prints, and how it names what people mistype."""

import json
from collections.abc import Iterator

import pytest

from polserve.protos.shared.names import MICROS
from tests.support.budget_service import budget_service
from tests.support.commands import polserve_here
from tests.support.running import Running


@pytest.fixture(scope="module")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with budget_service(tmp_path_factory.mktemp("allocator")) as running:
        yield running


def test_people_allocate_from_the_command_line(allocator: Running) -> None:
    common = ("allocate", "adbudget", "--target", allocator.target, "--remaining", "12000", "--total", "30000.50")
    answer = polserve_here(*common, "--day", "20", "--weekday", "0", "--spent", "facebook=410.5,380", "--json")
    split = json.loads(answer.stdout)
    assert sum(split["spend_micros"].values()) + split["unspent_micros"] == 12_000 * MICROS
    table = polserve_here(*common, "--floor", "facebook=9000")
    assert "9,000.00  (floor)" in table.stdout
    assert "by adbudget/1, in USD" in table.stdout


def test_what_is_left_on_the_last_day_is_spent_without_a_total_too(allocator: Running) -> None:
    answer = polserve_here("allocate", "--remaining", "1200", "--day", "29", "--target", allocator.target, "--json")
    assert json.loads(answer.stdout)["unspent_micros"] <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--remaining", "12k"), "--remaining: expected an amount such as 12000 or 99.95"),
        (("--remaining", "-5"), "of at least 0, got '-5'"),
        (("--remaining", "NaN"), "--remaining: expected an amount"),
        (("--remaining", "inf"), "--remaining: expected an amount"),
        (("--remaining", "1e999999"), "--remaining: expected an amount"),
        (("--remaining", "5", "--spent", "facebook=1", "--spent", "facebook=2"), "expected each channel once"),
        (("--remaining", "0.0000001"), "--remaining: expected an amount"),
        (("--remaining", "5", "--spent", "facebook"), "--spent: expected CHANNEL=AMOUNT, got 'facebook'"),
        (("--remaining", "40000", "--total", "30000"), "--remaining: expected at most --total, 30000, got 40000"),
        (("--remaining", "0.75", "--total", "0.5"), "--remaining: expected at most --total, 0.5, got 0.75"),
        (
            ("--remaining", "9000", "--floor", "facebook=1000", "--cap", "facebook=500"),
            "--cap facebook: expected at least its --floor, 1000, got 500",
        ),
        (
            ("--remaining", "90", "--floor", "facebook=60", "--floor", "instagram=30.01"),
            "--floor: expected at most --remaining, 90, together, got 90.01 (facebook 60, instagram 30.01)",
        ),
        (("--remaining", "5", "--day", "-1"), "--day: expected 0, for the first day, or more, got -1"),
        (("--remaining", "5", "--day", "7", "--horizon", "7"), "--day: expected less than --horizon, 7, got 7"),
        (("--remaining", "5", "--horizon", "0"), "--horizon: expected at least 1 day, got 0"),
        (("--remaining", "5", "--weekday", "7"), "--weekday: expected 0 (Monday) to 6, got 7"),
        (("--remaining", "5", "--demand", "nan"), "--demand: expected a number from 0 to 1000, got nan"),
    ],
)
def test_what_people_mistype_is_named(arguments: tuple[str, ...], message: str) -> None:
    answer = polserve_here("allocate", "adbudget", *arguments)
    assert answer.returncode == 2
    assert message in " ".join(answer.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--horizon", "31"), "--horizon: expected 1 to 30, the policy's longest, got 31"),
        (("--day", "30"), "--day: expected 0 to 29, within the policy's longest horizon, got 30"),
        (("--spent", "tiktok=5"), "--spent: expected the policy's channels, facebook, instagram, got tiktok"),
        (("--floor", "tiktok=5"), "--floor: expected the policy's channels, facebook, instagram, got tiktok"),
        (
            ("--spent", "facebook=" + ",".join(["5"] * 29)),
            "--spent facebook: expected at most 28 days, newest first, got 29",
        ),
    ],
)
def test_what_the_policy_does_not_take_is_named_by_the_option(
    allocator: Running, arguments: tuple[str, ...], message: str
) -> None:
    answer = polserve_here("allocate", "adbudget", "--remaining", "900", "--target", allocator.target, *arguments)
    assert answer.returncode == 2
    assert message in " ".join(answer.stderr.replace("│", " ").split())
