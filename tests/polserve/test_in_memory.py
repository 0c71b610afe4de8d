"""An application's tests need no server: functions answer the same client."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

import polserve
from polserve import BudgetDay, ClientError, InvalidArgument, PolicyClient
from polserve.testing import async_client, client


def lean(observation: NDArray[Any]) -> int:
    """Push to where the pole leans."""
    return int(observation[2] > 0)


TODAY = BudgetDay(
    day=0,
    horizon_days=10,
    total_micros=1_000,
    remaining_micros=1_000,
    weekday=0,
    spent_micros={"search": [5], "video": []},
    floor_micros={"video": 100},
    cap_micros={"search": 600},
)


def test_a_function_answers_one_observation_and_each_of_a_batch() -> None:
    with client({"cartpole": lean}) as policies:
        assert isinstance(policies, PolicyClient)
        one = policies.act("cartpole", [0, 0, 0.1, 0])
        assert (one.action.shape, one.action.dtype, int(one.action)) == ((), np.dtype(np.int64), 1)
        assert (one.policy, one.version, one.values, one.explored) == ("cartpole", "1", None, None)
        assert policies.act_batch("cartpole", [[0, 0, 1, 0], [0, 0, -1, 0]]).action.tolist() == [1, 0]


def test_continuous_actions_are_float32() -> None:
    answer = client(lambda observation: [0.5 * observation[0]]).act("any", [1.0])
    assert (answer.action.dtype, answer.action.tolist()) == (np.dtype(np.float32), [0.5])


def test_a_loaded_version_can_answer_with_its_values() -> None:
    loaded = polserve.load("cartpole")
    with client({"cartpole": lambda observation: loaded.act(observation, with_values=True)}) as policies:
        observations = np.eye(4, dtype=np.float32)
        answer = policies.act_batch("cartpole", observations, with_values=True)
        expected = loaded.act_batch(observations, with_values=True)
        assert (answer.action == expected.action).all()
        assert answer.values == pytest.approx(expected.values)
        assert policies.act_batch("cartpole", observations).values is None


def test_an_episode_is_played_with_its_return() -> None:
    with client(lean) as policies, policies.episode("cartpole", version=1, epsilon=0.5) as episode:
        for _ in range(2):
            assert int(episode.act([0, 0, 1, 0]).action) == 1
            answer = episode.act([0, 0, -1, 0], reward=np.float32(1.5))
            assert int(answer.action) == 0
            assert answer.explored is not None
            assert episode.end(reward=1) == 2.5
        episode.act([0, 0, 1, 0])
        assert episode.end() is None
        with pytest.raises(InvalidArgument, match="end: expected an action before it"):
            episode.end()


def test_a_refused_argument_leaves_the_episode_as_it_was() -> None:
    with client(lean) as policies, policies.episode("cartpole") as episode:
        with pytest.raises(InvalidArgument, match="reward: expected none with the first observation of an episode"):
            episode.act([0, 0, 1, 0], reward=1.0)
        episode.act([0, 0, 1, 0])
        with pytest.raises(InvalidArgument, match="reward: expected a finite number, or None, got nan"):
            episode.act([0, 0, 1, 0], reward=float("nan"))
        with pytest.raises(InvalidArgument, match="observation: expected real numbers"):
            episode.act(None)  # type: ignore[arg-type] # that is the point
        assert int(episode.act([0, 0, -1, 0], reward=1.0).action) == 0
        assert episode.end(reward=1.0) == 2.0


def test_a_split_stays_within_floors_caps_and_what_is_left() -> None:
    asked: list[BudgetDay] = []

    def greedy(today: BudgetDay) -> dict[str, int]:
        asked.append(today)
        return {"search": 5_000, "video": 0}

    split = client({"adbudget": greedy}).allocate("adbudget", TODAY)
    assert asked == [TODAY]
    assert split.spend_micros == {"search": 600, "video": 100}
    assert split.bounds == {"search": "cap", "video": "floor"}
    assert (split.unspent_micros, split.equal_split_micros, split.version) == (300, 50, "1")


@pytest.mark.parametrize("answered", [None, 5, {"search": 1}, {"search": 1.5, "video": 0}, {"search": -1, "video": 0}])
def test_spends_that_are_none_are_named(answered: object) -> None:
    with pytest.raises(InvalidArgument, match="policies"):
        client(lambda _: answered).allocate("adbudget", TODAY)


def test_what_is_live_is_what_was_given() -> None:
    policies = client({"b": lean, "a": lean})
    assert [policy.name for policy in policies.policies()] == ["a", "b"]
    live = policies.policy("a").live_version("@champion")
    assert live is not None
    assert live.version == "1"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda it: it.act("go", [0]), "NOT_FOUND: policy: no policy 'go' is live; live are cartpole"),
        (lambda it: it.policy("go"), "NOT_FOUND: policy: no policy 'go' is live; live are cartpole"),
        (lambda it: it.act("cartpole", [0], version=7), "NOT_FOUND: version: 'cartpole' is not live as '7'"),
        (lambda it: it.act_batch("cartpole", np.zeros((0, 4))), "expected at least one, got none"),
        (lambda it: it.act("cartpole", "a"), "observation: expected real numbers"),
    ],
)
def test_what_a_service_refuses_is_refused(ask: Callable[[PolicyClient], object], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        ask(client({"cartpole": lean}))


def test_a_function_can_fail_as_a_service_does() -> None:
    def fail(_: object) -> int:
        raise ClientError(grpc.StatusCode.UNAVAILABLE, "not now")

    with pytest.raises(ClientError, match="UNAVAILABLE: not now"):
        client(fail).act("cartpole", [0])


@pytest.mark.parametrize("policies", [None, 5, {"cartpole": 1}, {"a b": lean}, {1: lean}])
def test_what_is_no_function_is_refused(policies: Any) -> None:
    with pytest.raises(InvalidArgument, match="policies: expected a function, or a mapping of policies' names"):
        client(policies)


@pytest.mark.parametrize("action", [None, "left", [1, [2]], {"a": 1}])
def test_an_action_that_is_none_is_named(action: object) -> None:
    with pytest.raises(InvalidArgument, match="policies: expected a whole number, numbers or an Action"):
        client(lambda _: action).act("cartpole", [0])


def test_asyncio_gets_the_same() -> None:
    async def ask() -> None:
        async with async_client({"cartpole": lean, "adbudget": lambda _: {"search": 1, "video": 1}}) as policies:
            assert int((await policies.act("cartpole", [0, 0, 1, 0])).action) == 1
            assert (await policies.act_batch("cartpole", [[0, 0, 1, 0]])).action.tolist() == [1]
            assert (await policies.allocate("adbudget", TODAY)).bounds["video"] == "floor"
            assert [policy.name for policy in await policies.policies()] == ["adbudget", "cartpole"]
            assert (await policies.policy("cartpole")).default == "1"
            async with policies.episode("cartpole") as episode:
                await episode.act([0, 0, 1, 0])
                assert await episode.end(reward=2.0) == 2.0

    asyncio.run(ask())


def test_a_function_plays_episodes_side_by_side() -> None:
    with client({"cartpole": lean}) as policies, policies.episodes("cartpole", 2) as episodes:
        assert episodes.act([[0, 0, 1, 0], [0, 0, -1, 0]]).action.tolist() == [1, 0]
        episodes.act([[0, 0, 1, 0], [0, 0, 1, 0]], [1.0, 2.0], terminated=[False, True])
        ended = [(over.slot, over.steps, over.episode_return) for over in episodes.end([3.0, 4.0])]
    assert ended == [(1, 1, 2.0), (0, 2, 4.0), (1, 1, 4.0)]
