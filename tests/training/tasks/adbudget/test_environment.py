"""The environments: Gymnasium's rules, and that nothing ever overspends."""

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from polserve.training.environments.making import EnvironmentSpec, make_env, make_vec
from polserve.training.errors import InvalidOption, UnsupportedEnvironment
from polserve.training.learning.scores import SelectionGames
from polserve.training.tasks.adbudget.accounts import Account, account_from, account_of, default_account
from polserve.training.tasks.adbudget.allocator import (
    AllocationFeatures,
    Request,
    SpendPlan,
    acting_share,
    reference_share,
)
from polserve.training.tasks.adbudget.campaigns import Campaigns, component_names
from polserve.training.tasks.adbudget.curves.response import Channel
from polserve.training.tasks.adbudget.environment import ALLOCATION_ID, AdBudgetEnv, AllocationEnv, AllocationVec
from polserve.training.tasks.adbudget.plans.optimum import solve
from polserve.training.tasks.adbudget.plans.rules import MEAN_EVENT, play_rule, proportional
from polserve.training.tasks.adbudget.relative import RegretScore, RelativeVec, make_accounts

SPEC = EnvironmentSpec(ALLOCATION_ID, {"n_channels": 2})


def sales_of(facebook: float, instagram: float) -> float:
    return 10 * math.sqrt(facebook) + 7 * math.sqrt(instagram)


def guides(**changes: object) -> AdBudgetEnv:
    arguments = {"obs_range": (0, 1000), "act_range": (0, 1000), "budget": 1000.0, "horizon": 5, **changes}
    return AdBudgetEnv(sales_of, **arguments)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized space.*:UserWarning")
def test_the_environments_keep_gymnasiums_rules() -> None:
    check_env(guides(), skip_render_check=True)
    check_env(make_env(SPEC).unwrapped, skip_render_check=True)


def test_the_guides_environment_shows_the_spends_and_pays_the_sales() -> None:
    env = guides()
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(np.array([100.0, 44.0], np.float32))
    assert observation.tolist() == [100.0, 44.0]
    assert reward == pytest.approx(sales_of(100, 44))
    assert (terminated, truncated, info["remaining"]) == (False, False, 856.0)


def test_the_guides_episode_ends_with_the_budget_or_the_horizon() -> None:
    env = guides()
    env.reset(seed=0)
    observation, reward, terminated, *_ = env.step(np.array([1000.0, 1000.0], np.float32))
    assert terminated
    assert observation.tolist() == [500.0, 500.0]
    assert reward == pytest.approx(sales_of(500, 500))
    env.reset(seed=0)
    assert [env.step(np.zeros(2, np.float32))[2] for _ in range(5)] == [False] * 4 + [True]


def test_the_guides_environment_is_found_by_its_id() -> None:
    make_env(SPEC).close()
    env = gym.make("polserve/AdBudget-v0", sales_function=lambda *spends: sum(spends), channels=("a", "b", "c"))
    assert env.action_space.shape == (3,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obs_range": (5, 5)}, "obs_range: expected low and high"),
        ({"act_range": (-1, 5)}, "act_range: expected low and high"),
        ({"budget": 0}, "budget: expected a positive, finite number"),
        ({"horizon": 0}, "horizon: expected at least 1"),
        ({"channels": ()}, "channels: expected at least one"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        guides(**change)


@pytest.mark.parametrize("bad", [[np.nan, 1.0], [np.inf, 1.0]])
def test_spends_that_are_no_numbers_are_refused(bad: list[float]) -> None:
    for env in (guides(), make_env(SPEC)):
        env.reset(seed=0)
        with pytest.raises(InvalidOption, match="finite numbers"):
            env.step(np.array(bad, np.float32))


def test_the_vector_of_accounts_plays_as_single_accounts_do() -> None:
    account = default_account(3)
    contexts = account.draw_many(np.random.default_rng(0), 4)
    vector = AllocationVec(4, account)
    observations, _ = vector.reset(options={"contexts": contexts})
    singles = [AllocationEnv(account) for _ in contexts]
    shown = [env.reset(options={"context": context})[0] for env, context in zip(singles, contexts, strict=True)]
    assert np.array_equal(observations, shown)
    rng = np.random.default_rng(1)
    for _ in range(30):
        actions = rng.uniform(0, 900, (4, 3)).astype(np.float32)
        observations, rewards, terminated, *_ = vector.step(actions)
        answers = [env.step(action) for env, action in zip(singles, actions, strict=True)]
        assert np.array_equal(observations, [answer[0] for answer in answers])
        assert rewards == pytest.approx([answer[1] for answer in answers])
        assert terminated.tolist() == [answer[2] for answer in answers]
    assert terminated.all()


def test_spends_never_exceed_budget_and_caps() -> None:
    contexts = default_account(2).draw_many(np.random.default_rng(0), 50)
    rng = np.random.default_rng(1)
    spends, _ = play_rule(lambda campaigns: rng.normal(0, 3000, campaigns.caps.shape), contexts)
    for plan, context in zip(spends, contexts, strict=True):
        assert plan.sum() <= context.budget * (1 + 1e-12)
        assert (plan >= 0).all()
        assert (plan <= np.array(context.caps) + 1e-9).all()


def test_sales_noise_changes_no_spend_and_keeps_the_mean() -> None:
    account = default_account(2)
    context = account.draw(np.random.default_rng(0))
    calm, noisy = AllocationVec(500, account), AllocationVec(500, replace(account, sales_noise=0.15))
    actions = np.full((500, 2), 300.0, np.float32)
    for envs in (calm, noisy):
        envs.reset(seed=0, options={"contexts": [context] * 500})
    shown, sales, *_ = calm.step(actions)
    noisy_shown, noisy_sales, *_ = noisy.step(actions)
    assert np.array_equal(shown, noisy_shown)
    assert noisy_sales.std() > 0.1 * sales.mean()
    assert noisy_sales.mean() == pytest.approx(sales.mean(), rel=0.03)


def test_the_observation_has_a_name_for_every_number() -> None:
    account = AllocationEnv(default_account(2))
    names = component_names(["facebook", "instagram"])
    assert [name for name, _ in account.metadata["observation_components"]] == names
    observation, _ = account.reset(seed=0)
    assert observation.shape == (len(names),)
    account.step(np.array([123.0, 45.0], np.float32))
    following = account.step(np.array([7.0, 8.0], np.float32))[0]
    shown = dict(zip(names, following.tolist(), strict=True))
    assert (shown["facebook_spent_1"], shown["facebook_spent_2"], shown["instagram_spent_2"]) == (7.0, 123.0, 45.0)
    assert shown["day"] == 2.0


def test_the_middle_action_is_the_reference_plan() -> None:
    account = default_account(2)
    campaigns = Campaigns.of(account.draw_many(np.random.default_rng(0), 20))
    plan = SpendPlan(account)
    observation = torch.from_numpy(campaigns.observe())
    spends = plan(observation, torch.zeros(20, 2)).numpy()
    rule = proportional(plan.account.share.numpy().astype(np.float64), account.weekday_demand)
    assert spends == pytest.approx(np.minimum(rule(campaigns), campaigns.caps), rel=1e-4)
    assert (plan(observation, -torch.ones(20, 2)) == 0).all()


def lagged(days: int = 5) -> Account:
    """Account of two channels, of which the second acts some days after the spend."""
    first, second = default_account(2).channels
    return account_of([first, replace(second, lag_days=days)], horizon_days=12)


def test_no_action_spends_what_acts_after_the_horizon() -> None:
    account = lagged()
    campaigns = Campaigns.of(account.draw_many(np.random.default_rng(0), 20))
    plan = SpendPlan(account)
    for day in range(12):
        observation = torch.from_numpy(campaigns.observe())
        most, middle = (plan(observation, action * torch.ones(20, 2)).numpy() for action in (1, 0))
        assert ((most[:, 1] > 0) == (day < 7)).all()
        share = reference_share(account) if day < 7 else np.array([1.0, 0.0])  # the other channel has all of it
        pace = plan.account.pace(Request(observation))[2].numpy()
        assert middle == pytest.approx(np.minimum(pace * share, campaigns.caps), rel=1e-5)
        campaigns.spend(0.5 * middle.astype(np.float64))


def test_the_graph_splits_what_a_lag_allows_as_the_forecast_does() -> None:
    channels = zip(default_account(3).channels, (0, 3, 9), strict=True)
    account = account_of([replace(channel, lag_days=lag) for channel, lag in channels])
    campaigns = Campaigns.of(account.draw_many(np.random.default_rng(0), 20))
    observation = torch.from_numpy(campaigns.observe())
    left = np.arange(1, 21)
    observation[:, 0] = observation[:, 1] - torch.from_numpy(left)
    request, ones = Request(observation), torch.ones(20, 1)
    by_graph = SpendPlan(account).account.plan(request, ones, ones).numpy()
    by_forecast = acting_share(reference_share(account), campaigns.response.lag_days, left[:, None])[:, 0]
    assert by_graph == pytest.approx(by_forecast, rel=1e-5)
    assert len(np.unique(by_graph.round(4), axis=0)) == 3, "as many as lags"


@pytest.mark.parametrize("target", [0.0, 0.7])
def test_the_forecast_of_a_lagged_account_is_what_its_plan_sells(target: float) -> None:
    account = replace(lagged(), event_probability=0.0, target_marginal=target)
    contexts = account.draw_many(np.random.default_rng(0), 6)
    relative, plain = RelativeVec(AllocationVec(6, account)), Campaigns.of(contexts)
    relative.reset(seed=0, options={"contexts": contexts})
    ceiling, even = relative._forecast._ceiling, plain.budget / 12  # noqa: SLF001
    worth = np.zeros(6)
    for day in range(12):
        share = reference_share(account) if day < 7 else np.array([1.0, 0.0])
        spends = np.minimum(even[:, None] * share, ceiling)
        worth += plain.spend(spends) - target * spends.sum(axis=1)
    assert relative._forecast() == pytest.approx(worth, rel=1e-6)  # noqa: SLF001


def test_the_reference_plan_shuts_out_no_channel_that_only_large_budgets_use() -> None:
    strong = Channel(name="strong", retention=0.5, half_saturation=500.0, sales_max=5000.0)
    weak = Channel(name="weak", retention=0.5, half_saturation=500.0, sales_max=250.0)
    account = replace(account_of([strong, weak]), event_probability=0.0)
    large = replace(account, daily_budget=(account.daily_budget[1],) * 2).draw(np.random.default_rng(0))
    spends = solve(large).spends.sum(axis=0)
    assert 0 < spends[1] / spends.sum() < 2 * reference_share(account)[1]  # an action spends four times as much


@pytest.mark.parametrize("channels", range(1, 9))
def test_the_reference_plan_of_channels_that_all_budgets_use_is_the_best_plans(channels: int) -> None:
    account = default_account(channels)
    low, high = account.daily_budget
    known = replace(account, daily_budget=((low + high) / 2,) * 2, event_probability=0.0)
    spends = solve(known.draw(np.random.default_rng(0))).spends.sum(axis=0)
    assert reference_share(account) == pytest.approx(spends / spends.sum(), abs=1e-6)


def test_features_are_finite_whatever_is_asked() -> None:
    features = AllocationFeatures(default_account(2))
    zeros = torch.zeros(1, 62)
    huge = torch.full((1, 62), 9e12)
    huge[:, [0, 1, 5]] = torch.tensor([29.0, 30.0, 6.0])
    for observation in (zeros, huge):
        assert torch.isfinite(features(observation)).all()
        assert features(observation).shape == (1, features.n)


def test_shaped_rewards_add_up_to_the_gain_over_the_first_forecast() -> None:
    account = default_account(2)
    contexts = [
        replace(context, demand=(MEAN_EVENT,) * 30) for context in account.draw_many(np.random.default_rng(0), 8)
    ]
    relative, plain = RelativeVec(AllocationVec(8, account)), Campaigns.of(contexts)
    relative.reset(seed=0, options={"contexts": contexts})
    forecast, scale = relative._forecast(), relative._forecast.scale  # noqa: SLF001
    total, sales, rng = np.zeros(8), np.zeros(8), np.random.default_rng(0)
    for _ in range(30):
        actions = rng.uniform(-1, 1, (8, 2)).astype(np.float32)
        spends = SpendPlan(account)(torch.from_numpy(plain.observe()), torch.from_numpy(actions)).numpy()
        sales += plain.spend(spends.astype(np.float64))
        total += relative.step(actions)[1]
    assert total / scale == pytest.approx(sales - forecast, rel=1e-4)


def test_surprises_of_demand_change_no_value() -> None:
    account = default_account(2)
    relative = RelativeVec(AllocationVec(4000, account))
    context = account.draw(np.random.default_rng(3))
    rng = np.random.default_rng(4)
    contexts = [replace(context, demand=(1.0, *account.draw(rng).demand[1:])) for _ in range(4000)]
    relative.reset(seed=0, options={"contexts": contexts})
    expected = relative._forecast(is_demand_known=False)  # noqa: SLF001
    relative.step(np.zeros((4000, 2), np.float32))
    before, known = relative._forecast(is_demand_known=False), relative._forecast()  # noqa: SLF001
    assert known.mean() == pytest.approx(before.mean(), rel=2e-3)
    assert known.std() > 10 * before.std()
    assert np.ptp(expected) < 1e-6


def test_environments_are_made_by_id_for_any_account() -> None:
    account = {
        "channels": [{"name": "x", "retention": 0.1, "half_saturation": 5, "sales_max": 9}],
        "daily_budget": [1, 2],
    }
    envs = make_vec(EnvironmentSpec(ALLOCATION_ID, {"account": account}), 3)
    assert envs.action_space.shape == (3, 1)
    older = EnvironmentSpec(ALLOCATION_ID, {"scenario": account})  # as versions registered earlier state it
    for made in (make_env(older), make_vec(older, 3)):
        innermost = made.unwrapped
        assert isinstance(innermost, (AllocationEnv, AllocationVec))
        assert innermost.account == account_from(account)
    with pytest.raises(UnsupportedEnvironment, match="expected an environment of budgets"):
        make_accounts(EnvironmentSpec("CartPole-v1"), 2)
    for change, message in (
        ({"daily_budget": [5, -3]}, "daily_budget: expected"),
        ({"horizon_days": 0}, "horizon_days: expected"),
        ({"weekday_demand": [1, 1]}, "weekday_demand: expected 7"),
        ({"cap_factor": -1}, "cap_factor: expected"),
        ({"channels": []}, "channels: expected at least one"),
    ):
        with pytest.raises(InvalidOption, match=message):
            account_from({**account, **change})
    with pytest.raises(InvalidOption, match=r"account: expected an object.*no 'daily_budget'"):
        account_from({"channels": []})


def test_a_policy_that_keeps_to_the_reference_plan_scores_what_the_rule_does() -> None:
    account = default_account(2)
    score = RegretScore(account, SelectionGames(1_000_000_000, 10, 100))
    kept = score(lambda observations: np.zeros((len(observations), 2), np.float32))
    assert 97 < kept.value < 99.5
    assert kept.steps >= 10
    assert score(lambda observations: np.ones((len(observations), 2), np.float32)).value < 90
