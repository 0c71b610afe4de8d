"""Credentials come from Python or from variables, and a token reaches nobody whom it is not for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from polserve.serving.client import AsyncPolicyClient, Credentials, InvalidArgument, PolicyClient
from polserve.serving.client.credentials import VARIABLES, Bearer

SECRET = "ps_secret"  # noqa: S105 - it opens nothing


def test_each_field_is_a_variable() -> None:
    told = {variable: f"/{name}" for name, variable in VARIABLES.items() if name != "token_file"}
    read = Credentials.from_environment({**told, "POLSERVE_TLS": "1", "POLSERVE_INSECURE": "true"})
    assert read == Credentials(
        tls=True,
        ca="/ca",
        certificate="/certificate",
        key="/key",
        server_name="/server_name",
        token="/token",  # noqa: S106 - likewise
        insecure=True,
    )
    assert Credentials.from_environment({"POLSERVE_TOKEN_FILE": "/t", "POLSERVE_TLS": ""}).token_file == "/t"  # noqa: S105
    assert set(VARIABLES) == set(Credentials.__dataclass_fields__)
    with pytest.raises(InvalidArgument, match="POLSERVE_TLS: expected true or false, got 'maybe'"):
        Credentials.from_environment({"POLSERVE_TLS": "maybe"})


@pytest.mark.parametrize("kind", [PolicyClient, AsyncPolicyClient])
def test_a_token_is_not_sent_in_the_clear_to_another_machine(kind: Any) -> None:
    async def connect() -> None:  # the asyncio client is made where a loop runs
        for target in ("polserve.example:50051", "dns:///polserve.example:50051", "ipv4:192.0.2.1:1"):
            with pytest.raises(InvalidArgument, match="credentials: expected TLS beside a token") as refusal:
                kind(target, credentials=Credentials(token=SECRET))
            assert SECRET not in str(refusal.value)
            kind(target, credentials=Credentials(token=SECRET, tls=True))
            kind(target, credentials=Credentials(token=SECRET, insecure=True))
        for target in ("localhost:1", "127.0.0.1:1", "unix:/run/polserve.sock"):
            kind(target, credentials=Credentials(token=SECRET))

    asyncio.run(connect())


def test_a_client_without_credentials_takes_those_of_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLSERVE_TOKEN", SECRET)
    with pytest.raises(InvalidArgument, match="expected TLS beside a token"):
        PolicyClient("polserve.example")
    PolicyClient("polserve.example", credentials=Credentials())


def test_a_token_is_asked_for_anew_and_its_file_read_again(tmp_path: Path) -> None:
    tokens = iter(["one", "two"])
    bearer = Bearer(Credentials(token=lambda: next(tokens)))
    assert [bearer.metadata() for _ in range(2)] == [
        (("authorization", "Bearer one"),),
        (("authorization", "Bearer two"),),
    ]
    file = tmp_path / "token"
    file.write_text("first\n")
    bearer = Bearer(Credentials(token_file=file))
    assert bearer.metadata() == (("authorization", "Bearer first"),)
    file.rename(tmp_path / "old")
    file.write_text("second\n")
    assert bearer.metadata() == (("authorization", "Bearer second"),)
    file.unlink()
    with pytest.raises(InvalidArgument, match=r"credentials\.token_file: expected a file with the token"):
        bearer.metadata()
    assert Bearer(Credentials()).metadata() == ()


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "\u00e9"])
def test_what_is_no_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(InvalidArgument, match=r"credentials\.token: expected a token of visible ASCII") as refusal:
        Bearer(Credentials(token=lambda: token)).metadata()
    assert not token or token not in str(refusal.value)


def test_credentials_that_contradict_themselves_are_refused_and_a_token_is_not_shown() -> None:
    with pytest.raises(InvalidArgument, match="credentials: expected one of token and token_file, got both"):
        Credentials(token=SECRET, token_file="t")  # noqa: S106
    with pytest.raises(InvalidArgument, match=r"credentials\.certificate: expected a file beside credentials\.key"):
        Credentials(key="k")
    with pytest.raises(InvalidArgument, match=r"credentials: expected polserve\.Credentials, or None"):
        PolicyClient(credentials="token")  # type: ignore[arg-type]
    assert repr(Credentials(token=SECRET, tls=True)) == "Credentials(tls=True, token=...)"
