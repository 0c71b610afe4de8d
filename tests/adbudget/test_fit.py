"""Histories, good and bad, and what can be learned of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.adbudget.context import CHANNELS, WEEKDAY_DEMAND
from training.adbudget.fit import fit_response
from training.adbudget.history import History, Truth, read_history, simulate_history, write_history
from training.adbudget.regression import SalesModel
from training.adbudget.response import Response
from training.errors import InvalidOption

TRUTH = Truth(channels=(CHANNELS["facebook"], CHANNELS["search"]), base_sales=1500.0)


def history(days: int = 365, truth: Truth = TRUTH, seed: int = 0) -> History:
    return simulate_history(truth, days, np.random.default_rng(seed))


def test_the_fit_recovers_what_a_history_was_made_of() -> None:
    known = history(540)
    fit = fit_response(known, np.random.default_rng(1), members=8)
    assert fit.r_squared > 0.85
    assert fit.base_sales == pytest.approx(TRUTH.base_sales, rel=0.25)
    assert fit.weekday_demand == pytest.approx(WEEKDAY_DEMAND, abs=0.05)
    mean_spend = known.spends.mean(axis=0)
    truth, fitted = Response(TRUTH.channels), Response(fit.channels)
    assert fitted.sales(mean_spend) == pytest.approx(truth.sales(mean_spend), rel=0.15)
    assert fitted.retention == pytest.approx(truth.retention, abs=0.1)
    for curve, at, expected in zip(fit.curves, mean_spend, truth.sales(mean_spend), strict=True):
        assert curve.is_identified
        low, high = (float(np.interp(at, curve.spends, edge)) for edge in (curve.low, curve.high))
        assert 0.7 * expected < low < high < 1.3 * expected


def test_the_derivatives_that_the_fit_uses_are_those_of_the_sales() -> None:
    idle_at_first = history(90)
    idle_at_first.spends[:5] = 0.0
    model = SalesModel(idle_at_first)
    for parameters in model.starts(np.random.default_rng(0)):
        exact = model.derivatives(parameters) * idle_at_first.sales.mean()
        for index, by_one in enumerate(exact.T):
            step = 1e-6 * np.eye(len(parameters))[index]
            estimate = (model.sales(parameters + step) - model.sales(parameters - step)) / 2e-6
            assert by_one == pytest.approx(estimate, rel=1e-4, abs=1e-3)


def test_a_channel_that_hardly_varies_is_said_not_to_be_identified() -> None:
    known = history(120, replace(TRUTH, sales_noise=0.15))
    flat = known.spends.copy()
    flat[:, 1] = 300.0
    fit = fit_response(replace(known, spends=flat), np.random.default_rng(0), members=8)
    assert not fit.curves[1].is_identified
    assert "search: NOT identified by this history" in fit.statement()[1]
    assert "its spend varies by 0% only" in fit.statement()[1]


def test_channels_that_move_together_are_said_not_to_be_told_apart() -> None:
    known = history(120)
    twins = known.spends.copy()
    twins[:, 1] = 0.5 * twins[:, 0]
    fit = fit_response(replace(known, spends=twins), np.random.default_rng(0), members=2)
    assert "facebook: NOT identified by this history: its spend moves as that of search does" in fit.statement()[0]


def test_budgets_of_an_account_that_hardly_spends_are_those_of_its_days_of_spending() -> None:
    known = history(120)
    rare = np.where(np.arange(120)[:, None] % 30 == 0, known.spends + 50, 0.0)
    low, high = fit_response(replace(known, spends=rare), np.random.default_rng(0), members=2).daily_spend
    assert 0 < low <= high


def test_budgets_to_learn_with_are_near_those_that_were_seen() -> None:
    known = history(120)
    fit = fit_response(known, np.random.default_rng(0), members=2)
    low, high = fit.scenario().daily_budget
    assert low < known.spends.sum(axis=1).mean() < high
    assert fit.scenario().channels == fit.channels


def test_a_history_survives_being_written_down(tmp_path: Path) -> None:
    known = history(90)
    write_history(tmp_path / "history.csv", known)
    again = read_history(tmp_path / "history.csv")
    assert (again.first_day, again.channels) == (known.first_day, known.channels)
    assert again.spends == pytest.approx(known.spends, abs=0.006)
    assert again.sales == pytest.approx(known.sales, abs=0.006)


def test_other_columns_are_ignored(tmp_path: Path) -> None:
    path = lines_of(tmp_path)
    head, *rest = path.read_text().splitlines()
    path.write_text("\n".join([f"{head},weather", *(f"{line},-3 and rain" for line in rest)]))
    assert read_history(path).channels == ("facebook", "search")


def test_lines_may_come_in_any_order(tmp_path: Path) -> None:
    path = lines_of(tmp_path)
    head, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(rest)]) + "\n\n")
    assert read_history(path).first_day == history().first_day


def lines_of(folder: Path, days: int = 70) -> Path:
    """A file with a history that can be read."""
    path = folder / "history.csv"
    write_history(path, history(days))
    return path


def change(path: Path, line: int, column: int, text: str) -> None:
    """Put `text` into a cell."""
    lines = path.read_text().splitlines()
    cells = lines[line].split(",")
    cells[column] = text
    path.write_text("\n".join([*lines[:line], ",".join(cells), *lines[line + 1 :]]))


@pytest.mark.parametrize(
    ("cell", "text", "message"),
    [
        ((10, 1), "-5", "line 11: facebook_spend: expected a plain number such as 1234.56"),
        ((10, 1), "$500", "with neither currency signs nor thousands separators, got '\\$500'"),
        ((10, 2), "a lot", "line 11: search_spend: expected a plain number .* got 'a lot'"),
        ((10, 3), "", "line 11: sales: expected a plain number .* got ''"),
        ((10, 1), "nan", "line 11: facebook_spend: .* got nan"),
        ((10, 1), "1e15", "from 0 to 1e\\+12, got 1e15"),
        ((10, 1), "5e8", "facebook_spend of 2024-01-10: expected at most 1000 times the median"),
        ((10, 1), "1_000", "line 11: facebook_spend: expected a plain number"),
        ((10, 0), "10.01.2024", "line 11: date: expected a day such as 2026-01-31, got '10.01.2024'"),
        ((10, 0), "2024-01-09", "expected each date once; .* got 2024-01-09 twice"),
        ((10, 0), "2030-01-01", "a line for every day, with zeros where there is nothing, got none between"),
        ((0, 3), "revenue", "line 1: expected a header with date, <channel>_spend for each channel, and sales"),
        ((0, 2), "facebook_spend", "each once, got date, facebook_spend, facebook_spend, sales"),
        ((10, 1), "1,2", "line 11: expected 4 cells, got 5"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(tmp_path: Path, cell: tuple[int, int], text: str, message: str) -> None:
    path = lines_of(tmp_path)
    change(path, *cell, text)
    with pytest.raises(InvalidOption, match=message):
        read_history(path)


def test_histories_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="at least 60 days, got 59"):
        read_history(lines_of(tmp_path, 59))
    known = history(70)
    for index, name in ((0, "facebook_spend"), (1, "search_spend")):
        spends = known.spends.copy()
        spends[:, index] = 0.0
        write_history(tmp_path / "idle.csv", replace(known, spends=spends))
        with pytest.raises(InvalidOption, match=f"{name}: expected a channel that was used at least once"):
            read_history(tmp_path / "idle.csv")
    write_history(tmp_path / "unsold.csv", replace(known, sales=np.zeros(70)))
    with pytest.raises(InvalidOption, match="sales: expected sales on some day, got only zeros"):
        read_history(tmp_path / "unsold.csv")


def test_what_is_no_history_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    for name, message in (("empty", "got nothing"), ("binary", "expected a CSV file"), ("absent", "a CSV file")):
        with pytest.raises(InvalidOption, match=message):
            read_history(tmp_path / f"{name}.csv")


def test_the_simulator_is_a_pure_function_of_its_seed() -> None:
    assert np.array_equal(history(90).sales, history(90).sales)
    assert not np.array_equal(history(90).sales, history(90, seed=1).sales)
