"""`polserve token` makes tokens, and the commands show them, over TLS, as the variables say."""

from pathlib import Path

from polserve.serving.access.access_file import read_access_file
from tests.support.certificates import Authority
from tests.support.commands import polserve_here
from tests.support.running import service, wait_until


def test_a_token_is_printed_alone_and_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    options = ("--access", str(file), "--role", "observe", "--policy", "cartpole", "--policy", "maze-*", "--days", "3")
    made = polserve_here("token", "robot", *options)
    assert (made.returncode, made.stderr, made.stdout.count("\n")) == (0, "", 1)
    robot = read_access_file(file).caller_of_token(made.stdout.strip().encode())
    assert robot is not None
    assert robot.policies is not None
    assert robot.policies.patterns == ("cartpole", "maze-*")
    again = polserve_here("token", "robot", POLSERVE_ACCESS=str(file))
    assert again.returncode == 2
    assert again.stderr.startswith("error: access: ")
    assert "expected a name that no other token has, got 'robot'" in again.stderr


def test_the_commands_show_a_token_and_trust_an_authority_as_the_variables_say(policies: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, file, token_file = authority.sign("service"), tmp_path / "access.toml", tmp_path / "token"
    token_file.write_text(polserve_here("token", "robot", "--access", str(file)).stdout)
    files = ("--tls-cert", pair.certificate, "--tls-key", pair.key, "--access", file)
    with service("--policies", str(policies), *map(str, files), folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        told = {"POLSERVE_CA": str(authority.certificate), "POLSERVE_TOKEN_FILE": str(token_file)}
        target = ("--target", running.target)
        assert "cartpole/1" in polserve_here("policies", *target, **told).stdout
        bench = polserve_here("bench", "cartpole", "--duration", "0.5", "--concurrency", "2", *target, **told)
        assert "calls answered" in bench.stdout
        assert "failed" not in bench.stdout
        del told["POLSERVE_TOKEN_FILE"]
        refused = polserve_here("policies", *target, **told)
        assert refused.returncode == 1
        assert "UNAUTHENTICATED" in refused.stderr
        assert "give the client a token, by credentials or POLSERVE_TOKEN" in refused.stderr
        distrusting = polserve_here("policies", *target, "--wait", "0", POLSERVE_TLS="1")
        assert "this client does not trust its certificate; set POLSERVE_CA to its authority" in distrusting.stderr
        plain = polserve_here("policies", *target, "--wait", "0")
        assert "Socket closed; set POLSERVE_TLS or POLSERVE_CA if it has --tls-cert" in plain.stderr
