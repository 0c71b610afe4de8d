"""Histories that are made to mislead a fit: what each kind promises."""

import numpy as np
import pytest

from benchmarks.histories import KINDS, NOISE, NOISE_KEPT, _noise, simulate


def test_the_same_seed_makes_the_same_history_and_kinds_differ() -> None:
    sales = {kind: simulate(kind, 3).history.sales for kind in KINDS}
    assert np.array_equal(sales["clean"], simulate("clean", 3).history.sales)
    assert len({float(each.sum()) for each in sales.values()}) == len(KINDS)


def test_channels_of_the_collinear_kind_move_alike() -> None:
    spends = simulate("collinear", 0).history.spends
    assert 0.85 < np.corrcoef(spends[:, 0], spends[:, 1])[0, 1] < 0.99


def test_a_dead_channel_sells_nothing() -> None:
    simulated = simulate("dead", 0)
    assert simulated.sales(0, 1000.0) == 0.0
    assert simulated.sales(1, 1000.0) > 0.0


def test_budgets_grow_with_demand() -> None:
    spends = np.mean([simulate("growth", seed).history.spends.mean(axis=1) for seed in range(12)], axis=0)
    assert 1.2 < spends[365:].mean() / spends[:365].mean() < 1.7


def test_autocorrelated_noise_persists_and_is_as_large_as_the_other() -> None:
    noise = np.array([np.log(_noise("autocorrelated", np.random.default_rng(seed))) for seed in range(20)])
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] == pytest.approx(NOISE_KEPT, abs=0.02)
    assert noise.std() == pytest.approx(NOISE, rel=0.1)
