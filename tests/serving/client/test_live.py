"""What is live, as the client shows it."""

import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import InvalidArgument, LivePolicy

CARTPOLE = pb.PolicySpec(
    algorithm="dqn",
    environment=pb.Environment(id="CartPole-v1"),
    observation=pb.ObservationSpec(
        dtype=pb.FLOAT32, shape=[4], low=[-1], high=[1], components=[pb.Component(name="x", unit="m")]
    ),
    action=pb.ActionSpec(discrete=pb.DiscreteActions(n=2, labels=["left", "right"])),
    evaluation=pb.Evaluation(
        episodes=100, mean=500, iqm=499, interval_low=498, interval_high=501, confidence=0.95, random_mean=22.5
    ),
)
MESSAGE = pb.LivePolicy(
    name="cartpole",
    versions=[pb.LiveVersion(version="1"), pb.LiveVersion(version="2", spec=CARTPOLE, sha256="ab")],
    aliases={"champion": "2", "next": "1", "stable": "2"},
    default_version="2",
)


def test_a_version_says_what_it_takes_answers_and_earned() -> None:
    live = LivePolicy.of(MESSAGE).versions[1]
    assert (live.version, live.algorithm, live.environment, live.sha256) == ("2", "dqn", "CartPole-v1", "ab")
    assert (live.observation.dtype, live.observation.shape, live.observation.names) == ("float32", (4,), ("x",))
    assert (live.action.n, live.action.labels) == (2, ("left", "right"))
    assert live.evaluation is not None
    assert (live.evaluation.mean, live.evaluation.interval) == (500.0, (498.0, 501.0))
    assert live.allocation is None
    assert live.message.spec == CARTPOLE


def test_a_version_that_says_nothing_of_itself_is_shown_too() -> None:
    live = LivePolicy.of(MESSAGE).versions[0]
    assert live.evaluation is None
    assert repr(live) == "<version 1: any dtype () -> any action, not evaluated>"


def test_continuous_actions_and_allocators_are_told() -> None:
    spec = pb.PolicySpec(
        action=pb.ActionSpec(continuous=pb.ContinuousActions(low=[0, 0], high=[9, 9])),
        allocation=pb.AllocationSpec(channels=["a", "b"], currency="EUR", history_days=7, max_horizon_days=30),
    )
    (live,) = LivePolicy.of(pb.LivePolicy(versions=[pb.LiveVersion(version="1", spec=spec)])).versions
    assert (live.action.n, live.action.low, live.action.high) == (None, (0.0, 0.0), (9.0, 9.0))
    assert live.allocation is not None
    assert (live.allocation.channels, live.allocation.currency) == (("a", "b"), "EUR")


def test_at_a_prompt_a_policy_is_one_line() -> None:
    assert repr(LivePolicy.of(MESSAGE)) == (
        "<policy cartpole, versions 1 @next, 2 @champion @stable: CartPole-v1, "
        "float32 (4,) -> 2 actions (left, right), return 500.0 (498.0 to 501.0; random 22.5)>"
    )
    assert repr(LivePolicy.of(pb.LivePolicy(name="empty"))) == "<policy empty, versions none>"


def test_in_a_notebook_a_policy_is_a_table_with_its_texts_escaped() -> None:
    message = pb.LivePolicy()
    message.CopyFrom(MESSAGE)
    message.name = "<b>"
    table = LivePolicy.of(message)._repr_html_()
    assert table.count("<tr>") == 3
    assert "<td>&lt;b&gt;/2</td><td>@champion @stable</td><td>CartPole-v1</td>" in table


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", "2"), (None, "2"), ("1", "1"), (1, "1"), ("@next", "1"), ("@gone", None), ("3", None), (3, None)],
)
def test_a_version_is_found_as_the_service_finds_it(asked: str | int | None, found: str | None) -> None:
    live = LivePolicy.of(MESSAGE).live_version(asked)
    assert (live.version if live else None) == found


def test_where_nothing_is_the_default_no_version_is_found() -> None:
    assert LivePolicy.of(pb.LivePolicy(versions=[pb.LiveVersion(version="1")])).live_version() is None


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="version: expected '' or None for the champion"):
        LivePolicy.of(MESSAGE).live_version("champion")


def test_policies_that_say_the_same_are_equal() -> None:
    assert LivePolicy.of(MESSAGE) == LivePolicy.of(MESSAGE)
    other = pb.LivePolicy()
    other.CopyFrom(MESSAGE)
    other.versions[1].sha256 = "cd"
    assert LivePolicy.of(MESSAGE) != LivePolicy.of(other)
