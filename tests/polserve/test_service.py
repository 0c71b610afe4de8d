"""A real service for as long as a test needs it."""

from pathlib import Path

import grpc
import pytest

from polserve import ClientError, InvalidArgument, PolicyClient, testing
from polserve.testing.running import ServiceFailed
from tests.support.versions import make_frames_version, make_version


@pytest.mark.starts_processes
def test_a_real_service_answers_until_the_block_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLSERVE_POLICIES", "/nowhere")  # a developer's own setting steers no test
    with testing.service(options=["--policy", "cartpole"]) as target, PolicyClient(target) as client:
        assert [policy.name for policy in client.policies()] == ["cartpole"]
        assert client.act("cartpole", [0, 0, 0, 0]).version == "1"
    with PolicyClient(target, timeout_s=2) as client, pytest.raises(ClientError) as gone:
        client.act("cartpole", [0, 0, 0, 0])
    assert gone.value.code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.starts_processes
def test_a_service_knows_nothing_of_what_answered_from_the_folder_before(tmp_path: Path) -> None:
    for number, version in (("1", make_version()), ("2", make_frames_version())):
        version.write(tmp_path / "cartpole" / number)
        with testing.service(tmp_path) as target, PolicyClient(target) as client:
            assert [live.version for live in client.policy("cartpole").versions] == [number]


@pytest.mark.starts_processes
def test_a_service_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(ServiceFailed, match=r"(?s)ended with exit code 2: .*--nonsense"),
        testing.service(options=["--nonsense"]),
    ):
        pytest.fail("there is no service")


@pytest.mark.parametrize("policies", ["/nowhere", 5, b"policies"])
def test_what_is_no_folder_of_policies_is_refused(policies: str) -> None:
    with (
        pytest.raises(InvalidArgument, match="policies: expected a folder of policies/<name>/<version>/, or None"),
        testing.service(policies),
    ):
        pytest.fail("there is no service")
