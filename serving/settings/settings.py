"""The settings of `polserve serve`: each is a flag and an environment variable, and has its default here.

The command's options, its help and the table in the docs are made from the fields of `Settings`.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from polserve.protos.shared.calls import DEFAULT_PORT
from polserve.protos.shared.hosts import without_passwords
from polserve.protos.shared.names import CHAMPION
from polserve.serving.errors import ConfigurationError
from polserve.serving.settings.forms import Check, Limits, SettingForm, Shown, attribute_docstrings, setting_forms
from polserve.serving.settings.security import SecuritySettings, is_of_this_machine
from polserve.serving.settings.traces import TraceSettings
from polserve.serving.settings.values import find_variable, read_value, written
from polserve.serving.versions import Batching

PREFIX = "POLSERVE_"
"""What the names of our variables begin with."""

ALIKE = 0.8
"""How alike a variable's name must be to that of a setting to be taken for a misspelt one: 1 is equal."""

Port = Annotated[int, Limits(at_least=0, at_most=65535)]

_LINK = re.compile(r"(tcp|udp|sctp)://")
"""What Kubernetes writes into the variables that it makes of Services."""

REGISTRY_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""What the address of an MLflow server, or of the database of one, begins with."""

BUNDLED_POLICIES = Path(__file__).resolve().parents[2] / "policies"


def _bare(host: str) -> str:
    """Take away the brackets, which only stand around an IPv6 address where a port follows."""
    bare = host.strip().removeprefix("[").removesuffix("]")
    if not bare:
        raise ValueError("brackets around nothing")
    return bare


def _with_scheme(uri: str) -> str:
    """Refuse what is no address of a server or database; take away spaces around one."""
    if uri.strip().partition(":")[0].partition("+")[0] not in REGISTRY_SCHEMES:
        raise ValueError("no such scheme")
    return uri.strip()


def _check_no_file(folder: Path) -> Path:
    """Refuse a file where a folder is to be, or to come."""
    is_file = False
    with contextlib.suppress(OSError, RuntimeError):  # a folder above it is closed to us, or this user has no home
        is_file = folder.expanduser().is_file()
    if is_file:
        raise ValueError("a file")
    return folder


@dataclass(frozen=True, kw_only=True)
class Settings(SecuritySettings, TraceSettings):
    """The settings of `polserve serve`; help and docs show what stands below each of them."""

    host: Annotated[str, Shown(expected="an address such as 127.0.0.1, or 0.0.0.0 for all"), Check(_bare)] = "127.0.0.1"
    """Address that both ports are bound to; 0.0.0.0 for all of this machine's."""
    grpc_port: Port = DEFAULT_PORT
    """Port for gRPC; 0 for any free one."""
    http_port: Port = 8080
    """Port for HTTP: calls in JSON, the console, /metrics, /livez and /readyz; 0 for any free one."""
    console: bool = True
    """Whether a browser gets the console at /, which shows what is live and lets you try it; else a plain page."""
    policies: Annotated[Path | None, Shown(default="the bundled policies", expected="a folder")] = None
    """Folder that holds policies as NAME/VERSION/; the highest version of each answers."""
    policy: Annotated[tuple[str, ...], Shown(default="all", expected="the name of a policy")] = ()
    """Policy to serve; repeat the flag for more, or separate their names by commas. Each must be live before the
    service is ready."""
    aliases: Annotated[tuple[str, ...], Shown(flag="alias", expected="the name of an alias, such as champion")] = (
        CHAMPION,
    )
    """Registry alias to serve; repeat the flag for more, or separate them by commas. A request that names no version
    gets the champion, else the first of these."""
    poll_interval: Annotated[float, Limits(above=0, at_most=86_400), Shown(variable="POLSERVE_POLL_INTERVAL_S")] = 5.0
    """Seconds between two looks at the registry or the folder."""
    cache_dir: Annotated[
        Path | None, Shown(default="~/.cache/polserve", expected="a folder"), Check(_check_no_file)
    ] = None
    """Folder for the versions from a registry, which are served from there while it is down, and for the records of
    what answered last and of what was withdrawn."""
    service: str = "polserve"
    """Name of this service in the tags that it leaves on registry versions."""
    max_artifact_mib: Annotated[int, Limits(at_least=1)] = 2048
    """Largest version that is downloaded from a registry, in MiB."""
    latency_budget: Annotated[float, Limits(above=0), Shown(variable="POLSERVE_LATENCY_BUDGET_MS")] = 50.0
    """Refuse a version that takes more than this many milliseconds for one observation."""
    max_slowdown: Annotated[float, Limits(at_least=1)] = 20.0
    """Refuse a version more than this many times slower than the live one, if it also takes more than 1 ms."""
    allow_space_change: bool = False
    """Accept a version whose observations or actions differ from those of the live one."""
    workers: Annotated[int, Limits(at_least=1, at_most=256)] = 1
    """Number of processes that answer calls."""
    max_silence: Annotated[float, Limits(at_least=2, at_most=3600), Shown(variable="POLSERVE_MAX_SILENCE_S")] = 10.0
    """Seconds without a sign of life after which a worker, the follower or the validator is killed and replaced; with
    one worker, seconds after which /livez asks for a restart."""
    seed: Annotated[int | None, Limits(at_least=0), Shown(default="another at each start")] = None
    """Seed of the explored actions (epsilon); each process draws from a stream of its own."""
    batching: Batching = "auto"
    """Whether observations that wait at the same time go to the model together; auto measures where that pays."""
    max_batch: Annotated[int, Limits(at_least=1, at_most=4096)] = 256
    """Largest number of observations that go to the model together."""
    max_waiting: Annotated[int, Limits(at_least=1)] = 1024
    """Largest number of calls that wait for slow models in one process; more are refused with RESOURCE_EXHAUSTED."""
    max_wait: Annotated[float, Limits(above=0, at_most=3600), Shown(variable="POLSERVE_MAX_WAIT_S")] = 0.005
    """Seconds that a call with a deadline may be expected to wait where more comes than is done; up to 4 runs of its
    model, and 4 calls, are always allowed. What would wait for longer is refused with RESOURCE_EXHAUSTED."""
    patience: Annotated[float, Limits(above=0, at_most=3600), Shown(variable="POLSERVE_PATIENCE_S")] = 30.0
    """Seconds that a call without a deadline may be expected to wait; beyond, it is refused with RESOURCE_EXHAUSTED."""
    max_streams: Annotated[int, Limits(at_least=1, at_most=2**31 - 1)] = 1024
    """Largest number of calls at the same time on one connection."""
    max_message_mib: Annotated[int, Limits(at_least=1, at_most=1024)] = 64
    """Largest message, in MiB."""
    keepalive: Annotated[float, Limits(at_least=1, at_most=86_400), Shown(variable="POLSERVE_KEEPALIVE_S")] = 60.0
    """Seconds of silence after which a connection is probed; one that does not answer within 20 s is closed."""
    stall_timeout: Annotated[float, Limits(at_least=1, at_most=3600), Shown(variable="POLSERVE_STALL_TIMEOUT_S")] = 20.0
    """Seconds after which a call over gRPC ends whose request comes at less than 1 KiB a second, and a connection that
    reads none of many answers; nghttp2 front only."""
    connection_age: Annotated[
        float, Limits(at_least=1, at_most=864_000), Shown(variable="POLSERVE_CONNECTION_AGE_S")
    ] = 300.0
    """Seconds after which a client is asked to connect again, with several workers: so their load evens out."""
    max_episodes: Annotated[int, Limits(at_least=1, at_most=1_000_000)] = 10_000
    """Largest number of open episodes, each slot of a stream counted, shared out among the processes."""
    max_episode_mib: Annotated[int, Limits(at_least=1)] = 1024
    """Largest memory for the frames that open episodes keep, in MiB, shared out among the processes."""
    episode_idle: Annotated[float, Limits(above=0, at_most=86_400), Shown(variable="POLSERVE_EPISODE_IDLE_S")] = 300.0
    """Seconds without a message after which an episode stream is ended."""
    retire_after: Annotated[float, Limits(above=0, at_most=604_800), Shown(variable="POLSERVE_RETIRE_AFTER_S")] = 3600.0
    """Seconds that episodes may go on with a version that is no longer live; then they end with UNAVAILABLE."""
    front: Literal["auto", "nghttp2", "grpcio"] = "auto"
    """What carries gRPC: nghttp2, or the public server of grpcio; auto takes nghttp2 if its self-test passes."""
    mlflow_tracking_uri: Annotated[
        str | None,
        Shown(
            flag="tracking-uri",
            default="none",
            expected="http://, https:// or a database URI",
            remedy="run `mlflow server` and give its address",
            variable="MLFLOW_TRACKING_URI",
        ),
        Check(_with_scheme),
    ] = None
    """Address of the MLflow server whose registry is followed; it cannot be combined with --policies."""

    @classmethod
    def of_message(cls, message: Mapping[str, Any]) -> Self:
        """Read the settings that `to_message` wrote."""
        return cls(**{name: read_value(FORMS[name], given) for name, given in message.items() if given is not None})

    def to_message(self) -> dict[str, Any]:
        """Write the settings as JSON can hold them."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @property
    def registry_address(self) -> str:
        """The tracking URI without what may be a password; empty without a registry."""
        return without_passwords(self.mlflow_tracking_uri or "")

    @property
    def registry_cache(self) -> Path:
        """The cache of this service and registry; others have others, since their versions have the same numbers.

        Raises:
            ConfigurationError: there is no place for it.
        """
        try:
            return self._place_of(self.mlflow_tracking_uri)
        except RuntimeError as error:  # as under a container's user that nobody has registered
            raise ConfigurationError(
                "cache-dir: expected a folder to keep the registry's versions in, and this user has no home; "
                "set --cache-dir or POLSERVE_CACHE_DIR"
            ) from error

    def state_folder(self, policies: Path) -> Path | None:
        """Return where this service keeps records of what is in a folder of policies; None where there is no place."""
        try:
            return self._place_of(policies.resolve())
        except RuntimeError:
            return None

    def _place_of(self, followed: object) -> Path:
        """Return the folder for what is kept of a source; raises RuntimeError where this user has no home."""
        digest = hashlib.sha256(f"{self.service} {followed}".encode()).hexdigest()
        home = os.environ.get("XDG_CACHE_HOME")
        folder = self.cache_dir or (Path(home) if home else Path.home() / ".cache") / "polserve"
        return folder.expanduser() / digest[:16]


FORMS = setting_forms(Settings, attribute_docstrings(Settings, SecuritySettings, TraceSettings), PREFIX)
"""How each setting is written, by the name of its field."""


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Read the settings: from what was `given`, else from the environment, else the defaults.

    Raises:
        ConfigurationError: a value is not what it must be, or two contradict each other; it names them as they were
            written, by flag or by variable.
    """
    environment = dict(os.environ)  # whose every look at a variable encodes and decodes
    variables = {name: find_variable(form, environment) for name, form in FORMS.items()}
    found = {name: environment[variable] for name, variable in variables.items() if variable is not None}
    given = {name: value for name, value in given.items() if value not in (None, [], ())}
    settings = Settings(**{name: _read(FORMS[name], value, given) for name, value in {**found, **given}.items()})
    _check_pairs(settings, {name: written(form, given, environment) for name, form in FORMS.items()})
    return settings


def _read(form: SettingForm, value: Any, given: Mapping[str, Any]) -> Any:
    """Return the value of a setting; raise ConfigurationError, which names it as it was written, where it is none."""
    try:
        return read_value(form, value)
    except ValueError as error:
        got = ",".join(value) if isinstance(value, (list, tuple)) else value
        if form.name == "mlflow_tracking_uri":
            got = str(got).rpartition("@")[2]  # before it may stand a password
        remedy = "; " + form.remedy if form.remedy else ""
        raise ConfigurationError(
            f"{written(form, given, os.environ)}: expected {form.expected}, got {got!r}{remedy}"
        ) from error


def _check_pairs(settings: Settings, names: Mapping[str, str]) -> None:
    """Raise ConfigurationError where two settings contradict each other.

    Args:
        settings: each of which is what it must be by itself.
        names: what each was written as.
    """
    if settings.grpc_port == settings.http_port != 0:
        raise ConfigurationError(
            f"{names['http_port']}: expected another port than {names['grpc_port']} has, "
            f"got {settings.http_port} for both"
        )
    if settings.max_episodes < settings.workers:
        raise ConfigurationError(
            f"{names['max_episodes']}: expected at least 1 for each of the {settings.workers} processes of "
            f"{names['workers']}, got {settings.max_episodes}"
        )
    _check_security(settings, names)
    if settings.policies is not None and settings.mlflow_tracking_uri:
        raise ConfigurationError(
            f"{names['policies']} and {names['mlflow_tracking_uri']}: expected one of the two, got "
            f"{settings.policies} and {settings.registry_address}; leave one out, so that either the folder or the "
            "registry says what is served"
        )


def _check_security(settings: Settings, names: Mapping[str, str]) -> None:
    """Raise ConfigurationError where calls would be open to strangers, or TLS is set by halves."""
    for name in ("tls_key", "tls_client_ca"):
        if getattr(settings, name) is not None and settings.tls_cert is None:
            raise ConfigurationError(f"{names['tls_cert']}: expected a file beside {names[name]}, got none")
    for name in ("jwt_issuer", "jwt_audience"):
        if settings.jwt_keys is not None and getattr(settings, name) is None:
            raise ConfigurationError(
                f"{names[name]}: expected some text beside {names['jwt_keys']}, got none; without it, tokens that were "
                "made for another service would be taken"
            )
        if settings.jwt_keys is None and getattr(settings, name) is not None:
            raise ConfigurationError(f"{names['jwt_keys']}: expected keys beside {names[name]}, got none")
    rules = ("access", "jwt_keys", "tls_client_ca")
    if settings.anonymous != "none" and all(getattr(settings, name) is None for name in rules):
        beside = ", ".join(names[name] for name in rules)
        raise ConfigurationError(
            f"{names['anonymous']}: expected one of {beside} beside it, got none of them; without one, everybody may "
            "do everything"
        )
    if settings.tls_cert is not None and settings.tls_key is None:
        raise ConfigurationError(f"{names['tls_key']}: expected a file beside {names['tls_cert']}, got none")
    if not (is_of_this_machine(settings.host) or settings.insecure or settings.tls_files):
        raise ConfigurationError(
            f"{names['host']}: expected an address of this machine alone, such as 127.0.0.1, since calls are not "
            f"encrypted, got {settings.host}; give {names['tls_cert']} and {names['tls_key']}, or {names['insecure']} "
            "where a private network or a proxy keeps strangers out"
        )


def misspelt_variables() -> dict[str, str]:
    """Return the variables that are nearly the name of a setting's, each with that name."""
    known = {form.variable.removeprefix(PREFIX) for form in FORMS.values()}
    ours = {name: name.upper().removeprefix(PREFIX) for name in os.environ if name.upper().startswith(PREFIX)}
    unknown = {name: rest for name, rest in ours.items() if rest not in known}
    if not unknown:
        return {}
    import difflib  # of no use at most starts

    near = {name: difflib.get_close_matches(rest, known, n=1, cutoff=ALIKE) for name, rest in unknown.items()}
    return {name: PREFIX + found[0] for name, found in near.items() if found}


def ignore_foreign_variables() -> list[str]:
    """Take out of the environment what others have set there, and we or our libraries would obey.

    PROMETHEUS_MULTIPROC_DIR is ours to set, for our own worker processes. Kubernetes sets POLSERVE_HTTP_PORT to a URL,
    such as tcp://10.0.0.1:8080, where a Service is called polserve-http.

    Returns:
        The names of the variables.
    """
    foreign = [name for name in os.environ if name.upper() == "PROMETHEUS_MULTIPROC_DIR"]
    foreign += [name for name, value in os.environ.items() if name.startswith("POLSERVE_") and _LINK.match(value)]
    for name in foreign:
        del os.environ[name]
    return foreign
