import json
from pathlib import Path

import pytest

from polserve.serving.errors import ConfigurationError, one_line
from polserve.serving.settings.settings import FORMS, Settings, load_settings, misspelt_variables


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("POLSERVE_HOST", "127.0.0.2", "host", "127.0.0.2"),
        ("POLSERVE_GRPC_PORT", "1", "grpc_port", 1),
        ("POLSERVE_HTTP_PORT", "2", "http_port", 2),
        ("POLSERVE_POLICIES", "some/folder", "policies", Path("some/folder")),
        ("POLSERVE_POLICY", "cartpole, mountaincar", "policy", ("cartpole", "mountaincar")),
        ("POLSERVE_ALIASES", "challenger", "aliases", ("challenger",)),
        ("POLSERVE_POLL_INTERVAL_S", "0.5", "poll_interval", 0.5),
        ("POLSERVE_CACHE_DIR", "/c", "cache_dir", Path("/c")),
        ("POLSERVE_SERVICE", "blue", "service", "blue"),
        ("MLFLOW_TRACKING_URI", "http://m", "mlflow_tracking_uri", "http://m"),
    ],
)
def test_each_setting_is_a_variable_and_a_flag_wins(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, name: str, value: object
) -> None:
    default = getattr(Settings(), name)
    monkeypatch.setenv(variable, text)
    assert getattr(load_settings({}), name) == value
    monkeypatch.setenv(variable, "")
    assert getattr(load_settings({}), name) == default, "an empty variable is none"
    monkeypatch.setenv(variable, text)
    given = [*value] if isinstance(value, tuple) else value
    assert getattr(load_settings({name: given}), name) == value


def test_unrelated_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLL_INTERVAL", "99")
    monkeypatch.setenv("HOST", "example")
    assert load_settings({}) == Settings()


@pytest.mark.parametrize("text", ["inf", "nan", "0", "soon"])
def test_a_poll_interval_that_cannot_be_waited_for_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("POLSERVE_POLL_INTERVAL_S", text)
    with pytest.raises(ConfigurationError, match="POLSERVE_POLL_INTERVAL_S: expected a number above 0 and"):
        load_settings({})


def test_an_alias_may_be_written_with_its_at_sign() -> None:
    assert load_settings({"aliases": ["@champion", "canary"]}).aliases == ("champion", "canary")


def test_a_password_in_the_tracking_uri_is_shown_to_nobody() -> None:
    settings = load_settings({"mlflow_tracking_uri": "https://me:secret@mlflow.example/x"})
    assert settings.registry_address == "https://mlflow.example/x"
    with pytest.raises(ConfigurationError) as refusal:
        load_settings({"mlflow_tracking_uri": "https://me:secret@mlflow.example", "policies": Path()})
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "address", ["http://me:secret@host:5000/x", "https://me:p@secret@host/x", "https://secret@host"]
)
def test_a_password_in_an_error_is_shown_to_nobody(address: str) -> None:
    assert one_line(OSError(f"API request to {address} failed")).startswith("API request to http")
    assert "secret" not in one_line(OSError(f"API request to {address} failed"))
    assert load_settings({"mlflow_tracking_uri": address}).registry_address.split("//")[1].startswith("host")


def test_each_registry_and_each_service_has_a_cache_of_its_own() -> None:
    caches = {
        load_settings({"mlflow_tracking_uri": uri, "service": service}).registry_cache
        for uri in ("http://a", "http://b")
        for service in ("blue", "green")
    }
    assert len(caches) == 4


def test_every_worker_may_hold_an_episode() -> None:
    with pytest.raises(ConfigurationError, match="max-episodes: expected at least 1 for each of the 4 processes"):
        load_settings({"workers": 4, "max_episodes": 2})


@pytest.mark.parametrize(
    ("given", "variables", "message"),
    [
        ({"grpc_port": "x"}, {}, "--grpc-port: expected a whole number from 0 to 65535, got 'x'"),
        ({}, {"POLSERVE_GRPC_PORT": "x"}, "POLSERVE_GRPC_PORT: expected a whole number from 0 to 65535, got 'x'"),
        ({}, {"polserve_grpc_port": "x"}, "polserve_grpc_port: expected a whole number from 0 to 65535, got 'x'"),
        ({"workers": "0"}, {"POLSERVE_WORKERS": "2"}, "--workers: expected a whole number from 1 to 256, got '0'"),
        ({"seed": "-1"}, {}, "--seed: expected a whole number of at least 0, got '-1'"),
        ({"latency_budget": "0"}, {}, "--latency-budget: expected a number above 0, got '0'"),
        ({"batching": "maybe"}, {}, "--batching: expected auto, on or off, got 'maybe'"),
        ({}, {"POLSERVE_ALLOW_SPACE_CHANGE": "2"}, "POLSERVE_ALLOW_SPACE_CHANGE: expected true or false, got '2'"),
        ({}, {"POLSERVE_HOST": "[]"}, "POLSERVE_HOST: expected an address such as 127.0.0.1, or 0.0.0.0 for all"),
        ({}, {"POLSERVE_ALIASES": ","}, "POLSERVE_ALIASES: expected the name of an alias, such as champion, got ','"),
        ({"aliases": ["@"]}, {}, "--alias: expected the name of an alias, such as champion, got '@'"),
        ({"policy": [""]}, {}, "--policy: expected the name of a policy, got ''"),
        ({"policies": ""}, {}, "--policies: expected a folder, got ''"),
        ({"service": " "}, {}, "--service: expected some text, got ' '"),
        (
            {},
            {"MLFLOW_TRACKING_URI": " "},
            "MLFLOW_TRACKING_URI: expected http://, https:// or a database URI, got ' '",
        ),
        (
            {"mlflow_tracking_uri": "me:secret@host"},
            {},
            "--tracking-uri: expected http://, https:// or a database URI, got 'host'",
        ),
        ({"mlflow_tracking_uri": "//me:secret@host"}, {}, "got 'host'; run `mlflow server` and give its address"),
        (
            {"http_port": "9000"},
            {"POLSERVE_GRPC_PORT": "9000"},
            "--http-port: expected another port than POLSERVE_GRPC_PORT has, got 9000 for both",
        ),
        (
            {"host": "0.0.0.0"},  # noqa: S104 - what it is about
            {},
            "since calls are not encrypted, got 0.0.0.0; give --tls-cert and --tls-key, or --insecure where",
        ),
        (
            {},
            {"POLSERVE_HOST": "polserve.example", "POLSERVE_INSECURE": "false"},
            "encrypted, got polserve.example; give --tls-cert and --tls-key, or POLSERVE_INSECURE where",
        ),
        ({"tls_cert": "c"}, {}, "--tls-key: expected a file beside --tls-cert, got none"),
        ({"tls_key": "k"}, {}, "--tls-cert: expected a file beside --tls-key, got none"),
        ({"tls_client_ca": "a"}, {}, "--tls-cert: expected a file beside --tls-client-ca, got none"),
        (
            {"policies": "here"},
            {"MLFLOW_TRACKING_URI": "http://m"},
            "--policies and MLFLOW_TRACKING_URI: expected one of the two, got here and http://m",
        ),
    ],
)
def test_an_error_names_what_was_written_and_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, object], variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(given)
    assert message in str(refusal.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "polserve.localhost"])
def test_a_service_for_this_machine_alone_needs_no_tls(host: str) -> None:
    assert load_settings({"host": host}).tls_files is None


@pytest.mark.parametrize(
    "given", [{"insecure": True}, {"tls_cert": "c", "tls_key": "k"}, {"insecure": "true", "host": "::"}]
)
def test_a_service_for_other_machines_has_tls_or_says_that_it_is_insecure(given: dict[str, object]) -> None:
    settings = load_settings({"host": "0.0.0.0", **given})  # noqa: S104 - what it is about
    assert settings.insecure or settings.tls_files


def test_every_setting_has_a_meaning_a_default_and_an_expectation() -> None:
    for form in FORMS.values():
        assert form.meaning.endswith("."), form
        assert form.default not in ("", "None"), form
        assert form.expected, form


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("On", True), ("1", True), ("y", True), ("FALSE", False), ("no", False)]
)
def test_a_switch_is_written_in_any_of_the_usual_ways(text: str, value: object) -> None:
    assert load_settings({"insecure": text}).insecure is value


@pytest.mark.parametrize("text", ["1000000", " 1000000 ", "1_000_000", "1e+06", "1000000.0"])
def test_a_whole_number_may_be_written_as_tools_that_fill_in_templates_write_it(text: str) -> None:
    assert load_settings({"max_episodes": text}).max_episodes == 1_000_000


@pytest.mark.parametrize("text", ["1.5", "inf", "nan", "1e400", "true", "0x10"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--max-batch: expected a whole number from 1 to 4096, got '{text}'"):
        load_settings({"max_batch": text})


def test_a_name_that_is_no_setting_is_an_error() -> None:
    with pytest.raises(KeyError, match="worker"):
        load_settings({"worker": 2})


def test_a_worker_process_reads_the_settings_that_its_supervisor_wrote() -> None:
    settings = load_settings(
        {"policies": "some/folder", "aliases": ["champion", "canary"], "workers": 2, "seed": 0, "keepalive": 2.5}
    )
    assert Settings.of_message(json.loads(json.dumps(settings.to_message()))) == settings
    assert Settings.of_message(json.loads(json.dumps(Settings().to_message()))) == Settings()


def test_a_variable_that_is_nearly_a_settings_is_named_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *("POLSERVE_HTP_PORT", "polserve_max_wait"),
        *("POLSERVE_HTTP_PORT", "POLSERVE_TLS", "POLSERVE_CLIENT_CERT", "POLSERVE_CA", "POLSERVE_SIGN_KEY"),
        *("POLSERVE_SERVICE_HOST", "POLSERVE_SERVICE_PORT", "POLSERVE_PORT", "POLSERVE_PORT_50051_TCP"),
    ):
        monkeypatch.setenv(name, "1")
    near = {"POLSERVE_HTP_PORT": "POLSERVE_HTTP_PORT", "polserve_max_wait": "POLSERVE_MAX_WAIT_S"}
    assert misspelt_variables() == near


def test_a_file_is_no_folder_for_the_cache(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match=r"--cache-dir: expected a folder, got .*file"):
        load_settings({"cache_dir": str(file)})
    assert load_settings({"cache_dir": str(tmp_path / "none_yet")}).cache_dir == tmp_path / "none_yet"


@pytest.mark.parametrize("error", [PermissionError("closed"), RuntimeError("Could not determine home directory")])
def test_a_cache_that_cannot_be_looked_at_is_no_error_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_path: Path) -> Path:
        raise error

    monkeypatch.setattr(Path, "is_file" if isinstance(error, OSError) else "expanduser", fail)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_settings({"cache_dir": "~/polserve"}).cache_dir == Path("/home/somebody/polserve")
