"""Observations in parts, as an environment gives them, are laid out by the spec; actions are the environment's own."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import polserve
from polserve import Action, AsyncPolicyClient, ClientError, InvalidArgument, PolicyClient
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client.messages import ClientCall, T
from tests.support.running import Running, service, wait_until
from tests.support.running import polserve as command
from tests.support.spaces import arms, flat_arm, make_arm_version, make_lift_version
from tests.support.versions import make_frames_version, make_version

ARMS = arms()
ACTIONS = make_arm_version().golden["action"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("spaces")
    for version in (make_arm_version(), make_lift_version(), make_version(), make_frames_version()):
        version.write(folder / version.spec.name / "1")
    with service("--policies", str(folder), folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


@pytest.fixture(scope="module", params=["grpcio", "nghttp2"])
def client(running: Running, request: pytest.FixtureRequest) -> Iterator[PolicyClient]:
    with PolicyClient(running.target, transport=request.param) as client:
        yield client


def test_a_dict_is_laid_out_as_the_spec_says(client: PolicyClient) -> None:
    for row, expected in zip(ARMS[:5], ACTIONS[:5], strict=True):
        answer = client.act("arm", row)
        assert answer.action.tolist() == expected.tolist()
        assert client.act("arm", flat_arm(row)).action.tolist() == expected.tolist()
        as_lists = {"seen": [row["seen"][0].tolist(), 2], "joints": row["joints"].tolist(), "grip": 0}
        assert client.act("arm", as_lists).action.shape == (2,)


def test_several_observations_in_parts_are_one_batch(client: PolicyClient) -> None:
    batched = {
        "grip": np.array([row["grip"] for row in ARMS]),
        "joints": np.array([row["joints"] for row in ARMS]),
        "seen": (np.array([row["seen"][0] for row in ARMS]), np.array([row["seen"][1] for row in ARMS])),
    }
    for answer in (
        client.act_batch("arm", ARMS),
        client.act_batch("arm", iter(ARMS)),
        client.act_batch("arm", batched),
        client.act("arm", batched),
    ):
        assert answer.action.tolist() == ACTIONS.tolist()
    with client.episodes("arm", len(ARMS)) as episodes:
        for _ in range(2):
            assert episodes.act(batched).action.tolist() == ACTIONS.tolist()
        assert episodes.act(ARMS).action.tolist() == ACTIONS.tolist()


def test_an_episode_takes_observations_in_parts(client: PolicyClient) -> None:
    with client.episode("arm") as episode:
        for _ in range(2):
            for step, (row, expected) in enumerate(zip(ARMS[:3], ACTIONS[:3], strict=True)):
                answer = episode.act(row, reward=1.0 if step else None)
                assert answer.action.tolist() == expected.tolist()
            assert episode.end(reward=1.0) == 3.0
        with pytest.raises(InvalidArgument, match="none with the first observation"):
            episode.act(ARMS[0], reward=1.0)


def test_the_asyncio_client_takes_the_same(running: Running) -> None:
    row = ARMS[0]
    slot: Any = {"grip": np.array([row["grip"]]), "joints": np.array([row["joints"]])}
    slot["seen"] = tuple(np.array([part]) for part in row["seen"])

    async def ask() -> list[Action]:
        async with AsyncPolicyClient(running.target) as client:
            answers = [await client.act("arm", ARMS[0]), await client.act_batch("arm", ARMS[:1])]
            async with client.episode("arm") as episode, client.episodes("arm", 1) as episodes:
                return [*answers, await episode.act(ARMS[0]), await episodes.act(slot)]

    assert [answer.action.ravel().tolist() for answer in asyncio.run(ask())] == [ACTIONS[0].tolist()] * 4


@pytest.mark.parametrize(
    ("change", "argument", "sentence"),
    [
        ({"grip": 2}, "observation['grip']", "expected whole numbers from -1 to 1, got 2"),
        ({"joints": [0.0]}, "observation['joints']", r"expected float32 (2,), got float64 (1,)"),
        ({"joints": ["a", "b"]}, "observation['joints']", "expected real numbers"),
        ({"seen": ([0, 1],)}, "observation['seen']", "expected a tuple of 2 parts, got 1"),
        ({"seen": ([0, 1], 4)}, "observation['seen'][1]", "expected whole numbers from 0 to 3, got 4"),
        ({"wrist": 0}, "observation", "expected the keys 'grip', 'joints', 'seen', got"),
    ],
)
def test_an_error_names_the_key_and_nothing_is_sent(
    client: PolicyClient, change: dict[str, Any], argument: str, sentence: str
) -> None:
    with pytest.raises(InvalidArgument) as said:
        client.act("arm", ARMS[0] | change)
    assert said.value.argument == argument
    assert sentence in str(said.value)


def test_what_is_laid_out_by_hand_is_refused_by_its_parts_name(client: PolicyClient) -> None:
    flat = flat_arm(ARMS[0])
    for place, value, sentence in (
        (0, 2, r"expected whole numbers from -1 to 1, got 2.0 at \[0\], which is grip"),
        (5, 0.5, r"expected whole numbers from 0 to 3, got 0.5 at \[5\], which is seen.1"),
        (2, np.nan, r"expected finite numbers, got nan at \[2\], which is joints\[1\]"),
    ):
        wrong = flat.copy()
        wrong[place] = value
        with pytest.raises(ClientError, match=sentence):
            client.act("arm", wrong)
        with pytest.raises(ClientError, match=r"at \[1, \d\]"):
            client.act_batch("arm", [flat, wrong])


def test_a_whole_number_is_an_observation_and_actions_begin_where_the_environments_do(client: PolicyClient) -> None:
    golden = make_lift_version().golden
    assert [int(client.act("lift", 2 + floor).action) for floor in range(5)] == golden["action"][:5].tolist()
    assert client.act_batch("lift", [2, 3, 4]).action.tolist() == golden["action"][:3].tolist()
    assert set(golden["action"]) <= {-1, 0, 1}
    with pytest.raises(ClientError, match="expected whole numbers from 2 to 6, got 7"):
        client.act("lift", 7)


def test_explored_actions_are_drawn_from_the_environments_own(client: PolicyClient) -> None:
    drawn = client.act_batch("arm", [ARMS[0]] * 200, epsilon=1.0)
    assert drawn.explored is not None
    assert drawn.explored.all()
    assert {tuple(action) for action in drawn.action.tolist()} == {(i, j) for i in (1, 2, 3) for j in (0, 1)}
    assert set(client.act_batch("lift", [2] * 200, epsilon=1.0).action.tolist()) == {-1, 0, 1}


def test_chosen_values_are_counted_by_component(running: Running, client: PolicyClient) -> None:
    speed, lamp = client.act("arm", ARMS[0]).action.tolist()
    client.act("lift", 2)
    page = running.metrics()
    for action in (f"speed={speed}", f"lamp={lamp}"):
        assert f'polserve_actions_total{{action="{action}",policy="arm",version="1"}}' in page
    assert 'action="-1",policy="lift"' in page


def test_a_tuple_of_arrays_stays_an_array_where_the_policy_takes_one(client: PolicyClient) -> None:
    stack = make_frames_version().golden["observation"][0]
    assert int(client.act("frames", tuple(stack)).action) == make_frames_version().golden["action"][0]
    assert client.act("cartpole", (0, 0, 0.1, 0)).action.shape == ()


@pytest.mark.parametrize("given", [{"x": 1}, {"grip": 0, "joints": [0, 0]}])
def test_keys_are_refused_where_observations_have_none(client: PolicyClient, given: Any) -> None:
    with pytest.raises(InvalidArgument, match="observation: expected an array: observations of this policy have no"):
        client.act("cartpole", given)


def test_a_version_that_is_not_live_is_told(client: PolicyClient) -> None:
    with pytest.raises(ClientError, match="'arm' is not live as '7'"):
        client.act("arm", ARMS[0], version=7)
    with pytest.raises(ClientError, match="no policy 'leg' is live"):
        client.act("leg", ARMS[0])


def test_the_client_shows_the_parts_and_the_choices(client: PolicyClient) -> None:
    arm, lift = (client.policy(name).versions[0] for name in ("arm", "lift"))
    assert [(part.path, part.kind, part.offset) for part in arm.observation.parts] == [
        (("grip",), "Discrete", 0),
        (("joints",), "Box", 1),
        (("seen", "0"), "MultiBinary", 3),
        (("seen", "1"), "Discrete", 5),
    ]
    assert (arm.action.n, arm.action.choices, arm.action.starts, arm.action.shape) == (None, (3, 2), (1, 0), (2,))
    assert (lift.action.n, lift.action.start) == (3, -1)
    assert str(arm.action) == "int64 (2,) of 3 x 2 (speed, lamp)"


def test_the_command_takes_parts_and_shows_names(running: Running) -> None:
    row = json.dumps({"grip": 0, "joints": [0.5, 1], "seen": [[0, 1], 3]})
    shown = command("act", "arm", "--observation", row, "--target", running.target).stdout
    speed, lamp = polserve.load(running.log.parent / "arm").act(json.loads(row)).action.tolist()
    assert f"action [{speed}, {lamp}] (speed {speed}, lamp {lamp}) by arm/1" in shown
    shown = command("act", "lift", "--observation", "4", "--target", running.target).stdout
    assert any(f"({label}) by lift/1" in shown for label in ("down", "stay", "up"))


def test_a_loaded_version_takes_the_same(running: Running) -> None:
    arm = polserve.load(running.log.parent / "arm")
    batched = {key: np.array([row[key] for row in ARMS[:2]]) for key in ("grip", "joints")}
    batched["seen"] = tuple(np.array([row["seen"][i] for row in ARMS[:2]]) for i in (0, 1))  # type: ignore[assignment]
    assert arm.act(ARMS[0]).action.tolist() == ACTIONS[0].tolist()
    assert arm.act(flat_arm(ARMS[0])).action.tolist() == ACTIONS[0].tolist()
    assert arm.act_batch(ARMS).action.tolist() == ACTIONS.tolist()
    assert arm.act_batch(batched).action.tolist() == ACTIONS[:2].tolist()
    with pytest.raises(InvalidArgument, match=r"observations\[1\]\['grip'\]"):
        arm.act_batch([ARMS[0], ARMS[1] | {"grip": 5}])


class TwoVersions:
    """Answers by version 1, and from the second call on by version 2, whose parts lie in another order."""

    def __init__(self) -> None:
        self.sent: list[list[float]] = []
        self.asked: list[str] = []

    def call(self, call: ClientCall[T]) -> T:
        self.asked.append(call.method)
        if call.method == "GetPolicy":
            orders = {"1": ("a", "b"), "2": ("b", "a")}
            live = pb.LivePolicy(name="two", default_version="1" if len(self.sent) < 2 else "2")
            live.versions.extend(pb.LiveVersion(version=number, spec=_two(*keys)) for number, keys in orders.items())
            return call.read(pb.GetPolicyResponse(policy=live))
        assert isinstance(call.request, pb.ActRequest)
        self.sent.append(np.frombuffer(call.request.observation.data, np.float32).tolist())
        number = "1" if len(self.sent) < 2 else "2"
        action = pb.Tensor(dtype=pb.INT64, data=bytes(8))
        return call.read(pb.ActResponse(policy="two", version=number, action=action))

    def open_stream(self) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


def _two(*keys: str) -> pb.PolicySpec:
    parts = [
        pb.ObservationPart(path=[key], kind=pb.PART_KIND_BOX, offset=offset, dtype=pb.FLOAT32)
        for offset, key in enumerate(keys)
    ]
    return pb.PolicySpec(observation=pb.ObservationSpec(dtype=pb.FLOAT32, shape=[2], parts=parts))


def test_a_call_that_another_layout_answers_is_laid_out_and_asked_again() -> None:
    transport = TwoVersions()
    client = PolicyClient.over(transport)
    given = {"a": np.float32(1), "b": np.float32(2)}
    assert [client.act("two", given).version for _ in range(3)] == ["1", "2", "2"]
    assert transport.sent == [[1, 2], [1, 2], [2, 1], [2, 1]]
    assert transport.asked.count("GetPolicy") == 1, "specs are asked for once"


def test_a_function_gets_the_parts_as_they_were_given() -> None:
    fake = polserve.testing.client({"arm": lambda seen: [int(seen["grip"]) + 2, int(seen["seen"][1] > 1)]})
    expected = [[int(row["grip"]) + 2, int(row["seen"][1] > 1)] for row in ARMS]
    assert fake.act("arm", ARMS[0]).action.tolist() == expected[0]
    assert fake.act_batch("arm", ARMS).action.tolist() == expected
    with fake.episode("arm") as episode:
        assert episode.act(ARMS[0]).action.tolist() == expected[0]
    batched = {key: np.array([row[key] for row in ARMS[:2]]) for key in ("grip", "joints")}
    batched["seen"] = tuple(np.array([row["seen"][i] for row in ARMS[:2]]) for i in (0, 1))  # type: ignore[assignment]
    with fake.episodes("arm", 2) as episodes:
        assert episodes.act(batched).action.tolist() == expected[:2]
        assert episodes.act(ARMS[:2]).action.tolist() == expected[:2]
    with pytest.raises(InvalidArgument, match=r"observation\['grip'\]: expected real numbers"):
        fake.act("arm", {"grip": "open"})


def test_a_load_test_sends_categories_that_there_are(running: Running) -> None:
    for name in ("arm", "lift"):
        bench = ("bench", name, "--duration", "0.2", "--concurrency", "2", "--json", "--target", running.target)
        figures = json.loads(command(*bench).stdout)
        assert set(figures["codes"]) == {"OK"}, name
