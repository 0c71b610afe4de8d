"""BudgetService over a real channel: what it answers, and what it refuses."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import budget_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2
from polserve.protos.shared.names import MICROS
from polserve.serving.allocation import AllocationContract, ChannelDay, Day
from polserve.serving.client import AsyncPolicyClient, BudgetDay, ClientError, PolicyClient
from polserve.serving.errors import RolloutRefused
from polserve.serving.ledger import Binding, allocate
from polserve.serving.policy import Policy
from polserve.training.tasks.adbudget.accounts import default_account
from polserve.training.tasks.adbudget.campaigns import Campaigns, affordable
from tests.support.budget_service import budget_service
from tests.support.running import Running
from tests.support.versions import make_allocator_version, with_spec

TODAY = BudgetDay(
    day=3,
    horizon_days=30,
    total_micros=30_000 * MICROS,
    remaining_micros=27_000 * MICROS,
    weekday=2,
    spent_micros={"facebook": [600 * MICROS, 700 * MICROS], "instagram": [300 * MICROS]},
)


def channel(name: str, spent: NDArray[np.float64]) -> ChannelDay:
    """A channel by its recent spends in money, newest day first."""
    return ChannelDay(name, tuple(round(value * MICROS) for value in spent.tolist()))


@pytest.fixture(scope="module")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with budget_service(tmp_path_factory.mktemp("allocator")) as running:
        yield running


@pytest.fixture(scope="module")
def client(allocator: Running) -> Iterator[PolicyClient]:
    with PolicyClient(allocator.target) as client:
        yield client


def test_spends_and_what_is_left_for_later_add_up_to_what_remained(client: PolicyClient) -> None:
    split = client.allocate("adbudget", TODAY)
    assert sum(split.spend_micros.values()) + split.unspent_micros == TODAY.remaining_micros
    assert list(split.spend_micros) == ["facebook", "instagram"]
    assert min(split.spend_micros.values()) > 0
    assert split.equal_split_micros == TODAY.remaining_micros // 27 // 2
    assert (split.policy, split.version, set(split.bounds.values())) == ("adbudget", "1", {"none"})


def test_the_service_asks_the_graph_what_the_environment_shows() -> None:
    contexts = default_account().draw_many(np.random.default_rng(5), 3)
    campaigns = Campaigns.of(contexts)
    campaigns.spend(np.array([[300.0, 200.0]] * 3))
    contract = AllocationContract(make_allocator_version().spec)
    for index, observation in enumerate(campaigns.observe()):
        day = Day(
            day=1,
            horizon_days=30,
            total_micros=round(campaigns.budget[index] * MICROS),
            remaining_micros=round(campaigns.remaining[index] * MICROS),
            weekday=int(campaigns.weekday[index]),
            demand=float(campaigns.today()[index]),
            channels=[channel(name, campaigns.spent[index, number]) for number, name in enumerate(contract.channels)],
        )
        contract.check(day)
        assert contract.observe(day)[0] == pytest.approx(observation, rel=1e-6, abs=1e-6)


def test_the_order_of_channels_is_the_callers(client: PolicyClient) -> None:
    turned = replace(TODAY, spent_micros=dict(reversed(list(TODAY.spent_micros.items()))))
    assert client.allocate("adbudget", turned).spend_micros == client.allocate("adbudget", TODAY).spend_micros


def test_floors_and_caps_bind_and_say_so(client: PolicyClient) -> None:
    today = replace(TODAY, floor_micros={"facebook": 5_000 * MICROS}, cap_micros={"instagram": 7})
    split = client.allocate("adbudget", today)
    assert split.spend_micros == {"facebook": 5_000 * MICROS, "instagram": 7}
    assert split.bounds == {"facebook": "floor", "instagram": "cap"}


def test_what_is_wanted_beyond_the_budget_is_scaled_down_to_it(client: PolicyClient) -> None:
    floor = {"facebook": 27_000 * MICROS - 1000}
    split = client.allocate("adbudget", replace(TODAY, floor_micros=floor))
    assert 0 <= split.unspent_micros <= 1
    assert split.bounds == {"facebook": "floor", "instagram": "budget"}


def test_without_caps_only_the_budget_holds_back_and_in_proportion() -> None:
    contract = AllocationContract(make_allocator_version().spec)
    channels = [channel("facebook", np.zeros(1)), channel("instagram", np.zeros(1))]
    day = Day(29, 30, 1000 * MICROS, 1000 * MICROS, 0, 1.0, channels)
    wanted = np.array([2700.0, 900.0], np.float32)
    spends = allocate(contract.wishes(day, wanted), day.remaining_micros)
    assert [spend.micros / MICROS for spend in spends] == pytest.approx(
        affordable(wanted[None].astype(np.float64), np.array([1000.0]))[0]
    )
    assert {spend.binding for spend in spends} == {Binding.BUDGET}


@pytest.mark.parametrize("remaining", [0, 1, 2, 999])
def test_next_to_nothing_left_is_answered(client: PolicyClient, remaining: int) -> None:
    split = client.allocate("adbudget", replace(TODAY, total_micros=remaining, remaining_micros=remaining))
    assert sum(split.spend_micros.values()) + split.unspent_micros == remaining


def test_a_budget_above_any_in_training_is_answered(client: PolicyClient) -> None:
    most = 2**63 - 1
    split = client.allocate("adbudget", replace(TODAY, total_micros=most, remaining_micros=most))
    assert sum(split.spend_micros.values()) + split.unspent_micros == most


@given(
    day=st.integers(0, 29),
    total=st.integers(0, 2**63 - 1),
    share=st.fractions(0, 1),
    demand=st.floats(0, 1000),
    weekday=st.integers(0, 6),
    spent=st.lists(st.integers(0, 2**63 - 1), max_size=28),
    floor=st.fractions(0, 1),
)
def test_no_question_makes_it_overspend(client: PolicyClient, **drawn: Any) -> None:
    remaining = int(drawn["total"] * drawn["share"])
    today = BudgetDay(
        day=drawn["day"],
        horizon_days=30,
        total_micros=drawn["total"],
        remaining_micros=remaining,
        weekday=drawn["weekday"],
        demand=drawn["demand"],
        spent_micros={"facebook": drawn["spent"], "instagram": []},
        floor_micros={"instagram": int(remaining * drawn["floor"])},
    )
    split = client.allocate("adbudget", today)
    assert sum(split.spend_micros.values()) + split.unspent_micros == remaining
    assert min(split.spend_micros.values()) >= 0
    assert split.unspent_micros >= 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"day": -1}, "day: expected 0 to 29, got -1"),
        ({"day": 30}, "day: expected 0 to 29"),
        ({"horizon_days": 0}, "horizon_days: expected 1 to 30"),
        ({"horizon_days": 31}, "horizon_days: expected 1 to 30, the policy's longest, got 31"),
        ({"total_micros": -1}, "total_micros: expected at least 0"),
        ({"remaining_micros": -1}, "remaining_micros: expected 0 to total_micros"),
        ({"remaining_micros": 31_000 * MICROS}, "remaining_micros: expected 0 to total_micros, 30000000000"),
        ({"weekday": 7}, "weekday: expected 0 (Monday) to 6, got 7"),
        ({"demand": float("nan")}, "demand: expected a number from 0 to 1000, got nan"),
        ({"demand": -0.5}, "demand: expected"),
        ({"spent_micros": {"facebook": []}}, "channels: expected each of facebook, instagram once, got facebook"),
        ({"spent_micros": {"facebook": [], "tiktok": []}}, "got facebook, tiktok"),
        (
            {"spent_micros": {"facebook": [-5], "instagram": []}},
            "channels[0] (facebook).spent_micros: expected amounts",
        ),
        ({"spent_micros": {"facebook": [1] * 29, "instagram": []}}, "spent_micros: expected at most 28 days, got 29"),
        ({"floor_micros": {"facebook": -1}}, "channels[0] (facebook).floor_micros: expected at least 0"),
        (
            {"floor_micros": {"facebook": 2}, "cap_micros": {"facebook": 1}},
            "cap_micros: expected at least the floor, 2",
        ),
        ({"floor_micros": {"facebook": 27_000 * MICROS, "instagram": 1}}, "channels.floor_micros: expected floors of"),
    ],
)
def test_bad_questions_are_refused_by_field(client: PolicyClient, change: dict[str, Any], field: str) -> None:
    with pytest.raises(ClientError) as refusal:
        client.allocate("adbudget", replace(TODAY, **change))
    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in str(refusal.value)


def test_a_channel_named_twice_is_refused(allocator: Running) -> None:
    request = pb.AllocateRequest(
        policy="adbudget",
        horizon_days=30,
        channels=[pb.ChannelState(name="facebook"), pb.ChannelState(name="facebook")],
    )
    with grpc.insecure_channel(allocator.target) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/polserve.v1.BudgetService/Allocate")
        with pytest.raises(grpc.RpcError, match="got facebook, facebook"):
            ask(request.SerializeToString(), timeout=10)
        with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
            ask(b"\xff\xff", timeout=10)


def test_amounts_beyond_int64_never_leave_the_client(client: PolicyClient) -> None:
    with pytest.raises(ValueError, match="total_micros: expected a whole number from"):
        client.allocate("adbudget", replace(TODAY, total_micros=2**63))


def test_other_policies_and_unknown_ones_are_refused(client: PolicyClient) -> None:
    with pytest.raises(ClientError, match="policy: expected one that allocates budgets"):
        client.allocate("cartpole", TODAY)
    with pytest.raises(ClientError, match="no policy 'adbugdet' is live"):
        client.allocate("adbugdet", TODAY)


def test_the_asyncio_client_allocates_too(allocator: Running) -> None:
    async def ask() -> int:
        async with AsyncPolicyClient(allocator.target) as client:
            return (await client.allocate("adbudget", TODAY)).unspent_micros

    assert 0 < asyncio.run(ask()) < TODAY.remaining_micros


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ["facebook", "facebook"]}, "names of their own"),
        ({"channels": ["facebook", "instagram", "search"]}, "got 2 actions for"),
        ({"components": ["day", "moon"]}, r"unknown \['moon'\]"),
        ({"components": ["day", "weekday"]}, r"an observation float32 \[2\]"),
    ],
)
def test_an_allocation_block_that_does_not_fit_is_no_allocator(change: dict[str, list[str]], message: str) -> None:
    version = make_allocator_version()
    spec = policy_pb2.PolicySpec()
    spec.CopyFrom(version.spec)
    for name, values in change.items():
        spec.allocation.ClearField(name)
        getattr(spec.allocation, name).extend(values)
    with pytest.raises(RolloutRefused, match=message):
        Policy.of_model("adbudget", "1", with_spec(version, spec).model.SerializeToString())


def test_a_network_that_answers_no_number_spends_nothing() -> None:
    contract = AllocationContract(make_allocator_version().spec)
    day = Day(0, 30, 100, 100, 0, 1.0, [channel("facebook", np.zeros(1)), channel("instagram", np.zeros(1))])
    with pytest.raises(ArithmeticError, match="not finite"):
        contract.wishes(day, np.array([np.nan, 1.0], np.float32))


def test_a_policy_file_is_an_allocator_by_its_spec_alone(tmp_path: Path) -> None:
    folder = make_allocator_version(5).write(tmp_path)
    contract = Policy.load("adbudget", "1", folder).allocation
    assert contract is not None
    assert contract.channels == ("facebook", "instagram", "search", "youtube", "tiktok")
