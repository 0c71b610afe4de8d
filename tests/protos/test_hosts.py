"""Which hosts are this very machine, and what of an address may be shown."""

import pytest

from polserve.protos.shared.hosts import is_loopback, no_proxy, without_passwords


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.8.0.1", "[::1]", "::"])
def test_names_and_addresses_of_this_machine_are_told(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "mlflow.example", "10.0.0.1", "localhost.example", "::2"])
def test_other_hosts_are_none_of_this_machine(host: str) -> None:
    assert not is_loopback(host)


def test_this_machine_is_added_to_the_hosts_that_no_proxy_stands_before() -> None:
    assert no_proxy({}) == "localhost,127.0.0.0/8,::1"
    assert no_proxy({"NO_PROXY": "example.com, localhost"}) == "example.com,localhost,127.0.0.0/8,::1"


def test_another_name_of_this_machine_is_added_and_another_machine_is_not() -> None:
    assert no_proxy({}, "mlflow.localhost") == "localhost,127.0.0.0/8,::1,mlflow.localhost"
    assert no_proxy({}, "mlflow.example") == no_proxy({})


def test_passwords_are_taken_out_of_every_address_in_a_text() -> None:
    said = "http://me:secret@host:1/x and http://you@there do not answer"
    assert without_passwords(said) == "http://host:1/x and http://there do not answer"
