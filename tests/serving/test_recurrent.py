"""A recurrent policy is played as its own network would play, whoever keeps what it remembers."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polserve
from polserve import AsyncPolicyClient, ClientError, InvalidArgument, PolicyClient
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import NEXT
from polserve.protos.tensors import to_tensor
from polserve.serving.episodes import state_bytes
from polserve.serving.errors import RolloutRefused
from polserve.serving.handlers.act import ActHandler
from polserve.serving.policy import Policy
from polserve.serving.validation.acceptance import AcceptanceLimits, validate
from polserve.serving.validation.golden_replay import check_golden_file
from polserve.serving.versions import VersionRef
from polserve.training.versions.version import PolicyVersion
from tests.support.calls import ReceivedCall, Runs, catalog_of, inference_of
from tests.support.running import Running, service, wait_until
from tests.support.spaces import make_memory_version, played
from tests.support.versions import make_version, with_spec

VERSION = make_memory_version()
STEPS = np.random.default_rng(5).normal(size=(30, 3, 2)).astype(np.float32)
"""Observations of 30 steps, for 3 episodes."""


@pytest.fixture(scope="module", params=["nghttp2", "grpcio"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("recurrent")
    for version, number in ((VERSION, "1"), (make_version(), "1")):
        version.write(folder / version.spec.name / number)
    with service("--policies", str(folder), "--front", request.param, folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[PolicyClient]:
    with PolicyClient(running.target) as client:
        yield client


def test_an_episode_is_played_with_what_the_service_remembers(client: PolicyClient) -> None:
    with client.episode("memory") as episode:
        for slot in (0, 1):  # the second begins anew
            actions = [int(episode.act(row).action) for row in STEPS[:, slot]]
            assert actions == played(VERSION, STEPS[:, slot])
            assert len(set(actions)) == 2
            episode.end()


def test_each_slot_remembers_its_own_episode_and_forgets_it_at_its_end(client: PolicyClient) -> None:
    with client.episodes("memory", 3) as episodes:
        ended = {12: [1], 20: [0, 1]}
        actions = []
        for step, rows in enumerate(STEPS):
            is_over = np.isin(np.arange(3), ended.get(step, []))
            actions.append(episodes.act(rows, terminated=is_over if step else None).action)
    of_slots = np.array(actions).T.tolist()
    assert of_slots[0] == played(VERSION, STEPS[:20, 0]) + played(VERSION, STEPS[20:, 0])
    assert of_slots[1] == [a for part in (STEPS[:12], STEPS[12:20], STEPS[20:]) for a in played(VERSION, part[:, 1])]
    assert of_slots[2] == played(VERSION, STEPS[:, 2])


def test_a_client_carries_the_state_in_act_alone_and_in_batches(client: PolicyClient) -> None:
    state, batch_state = None, None
    expected = [played(VERSION, STEPS[:, slot]) for slot in range(3)]
    for step, rows in enumerate(STEPS[:10]):
        alone = client.act("memory", rows[0], state=state)
        batch = client.act_batch("memory", rows, state=batch_state)
        state, batch_state = alone.state, batch.state
        assert int(alone.action) == expected[0][step]
        assert batch.action.tolist() == [actions[step] for actions in expected]


def test_the_asyncio_client_carries_it_too(running: Running) -> None:
    async def play() -> list[int]:
        async with AsyncPolicyClient(running.target) as client:
            state, actions = None, []
            for row in STEPS[:5, 0]:
                answer = await client.act("memory", row, state=state)
                state = answer.state
                actions.append(int(answer.action))
            return actions

    assert asyncio.run(play()) == played(VERSION, STEPS[:5, 0])


def test_a_loaded_version_carries_it_too(running: Running) -> None:
    memory = polserve.load(running.log.parent / "memory")
    state = None
    for row, expected in zip(STEPS[:, 0], played(VERSION, STEPS[:, 0]), strict=True):
        answer = memory.act(row, state=state)
        state = answer.state
        assert int(answer.action) == expected


def test_a_state_that_is_none_of_this_call_is_refused_with_a_sentence(client: PolicyClient) -> None:
    state = client.act("memory", STEPS[0, 0]).state
    assert state is not None
    nan = state[:-4] + np.float32(np.nan).tobytes()
    other = state[:8] + bytes(8) + state[16:]
    for wrong, sentence in (
        (b"anything", "state: expected what memory/1 answered the observation before with, .* got 8 bytes that are no"),
        (other, "got the state of another version"),
        (state[:-1], "got 47 bytes that are no state|bytes that are no state"),
        (state + state[20:], "expected the states of 1 observations, got the states of 2 observations"),
        (nan, "a state with numbers that are not finite"),
    ):
        with pytest.raises(ClientError, match=sentence):
            client.act("memory", STEPS[0, 0], state=wrong)
    with pytest.raises(ClientError, match=r"state: expected none: cartpole/1 remembers nothing, got \d+ bytes"):
        client.act("cartpole", [0, 0, 0, 0], state=state)
    with pytest.raises(InvalidArgument, match="state: expected the state of the answer before"):
        client.act("memory", STEPS[0, 0], state="begin")  # type: ignore[arg-type]
    assert client.act("cartpole", [0, 0, 0, 0]).state is None


def test_exploration_changes_no_memory(client: PolicyClient) -> None:
    first = client.act("memory", STEPS[0, 0], epsilon=1.0)
    assert first.state == client.act("memory", STEPS[0, 0]).state


def test_calls_with_states_of_their_own_go_to_the_model_together() -> None:
    runs = Runs()
    catalog = catalog_of(VERSION)
    handler = ActHandler(catalog, inference_of(runs), lambda posted: posted())
    policy = catalog.resolve("memory", "", None)
    token = policy.token(policy.act(STEPS[0, :1]))
    requests = [pb.ActRequest(policy="memory", observation=to_tensor(STEPS[1, slot]), state=token) for slot in range(3)]
    calls = [ReceivedCall(request) for request in requests]
    handler.handle(calls)
    assert runs.sizes == [3]
    for call, request in zip(calls, requests, strict=True):
        alone = ReceivedCall(request)
        handler.handle([alone])
        assert call.replies == alone.replies


def test_the_bytes_of_an_episode_count_what_is_remembered() -> None:
    assert state_bytes(Policy.of_model("memory", "1", VERSION.model.SerializeToString())) == 4 * (3 + 4)


def test_a_memory_that_differs_from_the_golden_one_is_refused(tmp_path: Path) -> None:
    for name in ("fast", NEXT + "slow"):
        golden = {**VERSION.golden, name: VERSION.golden[name] + np.float32(0.5)}
        policy = Policy.load("memory", "1", replace(VERSION, golden=golden).write(tmp_path / name))
        with pytest.raises(RolloutRefused, match="golden replay"):
            check_golden_file(policy, tmp_path / name)
    lacking = {name: array for name, array in VERSION.golden.items() if "slow" not in name}
    replace(VERSION, golden=lacking).write(tmp_path / "lacking")
    with pytest.raises(RolloutRefused, match="the golden set lacks the states next_slow, slow"):
        check_golden_file(policy, tmp_path / "lacking")


def test_a_recurrent_version_is_validated_and_timed(tmp_path: Path) -> None:
    folder = VERSION.write(tmp_path / "1")
    accepted = validate(VersionRef("memory", "1", folder, VERSION.sha256), None, AcceptanceLimits())
    assert accepted.pace.alone_s > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"states": []}, r"the states of its spec \(none\), got \['observation', 'fast', 'slow'\]"),
        (
            {"shape": [4]},
            r"state fast: the graph has tensor\(float\) \['n', 3\], its spec says tensor\(float\) \(N, 4\)",
        ),
        ({"name": "quick"}, r"the states of its spec \(quick, slow\)"),
        ({"dtype": pb.FLOAT64}, "states: expected names, FLOAT32 and a fixed shape"),
    ],
)
def test_a_graph_whose_states_are_not_those_of_its_spec_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RolloutRefused, match=sentence):
        Policy.of_model("memory", "1", _changed(change).model.SerializeToString())


def _changed(change: dict[str, Any]) -> PolicyVersion:
    spec = pb.PolicySpec()
    spec.CopyFrom(VERSION.spec)
    if "states" in change:
        del spec.states[:]
    else:
        spec.states[0].MergeFrom(pb.StateSpec(**{key: value for key, value in change.items() if key != "shape"}))
        spec.states[0].shape[:] = change.get("shape", spec.states[0].shape)
    return with_spec(VERSION, spec)
