"""The settings of `polserve serve`: each is a flag and an environment variable, and has its default here."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from polserve.protos.shared.hosts import without_passwords
from polserve.protos.shared.names import CHAMPION
from polserve.serving.errors import ConfigurationError

Port = Annotated[int, Field(ge=0, le=65535)]

_LINK = re.compile(r"(tcp|udp|sctp)://")
"""What Kubernetes writes into the variables that it makes of Services."""

BUNDLED_POLICIES = Path(__file__).resolve().parent.parent / "policies"


class Settings(BaseSettings):
    """What `polserve serve` is told."""

    model_config = SettingsConfigDict(
        env_prefix="POLSERVE_", env_ignore_empty=True, extra="forbid", frozen=True, populate_by_name=True
    )

    host: str = "127.0.0.1"
    """Address that both ports are bound to."""
    grpc_port: Port = 50051
    """0 for any free one."""
    http_port: Port = 8080
    """0 for any free one."""
    policies: Path | None = None
    """Folder of policies/<name>/<version>/; the bundled one when neither it nor a tracking URI is set."""
    policy: Annotated[tuple[str, ...], NoDecode] = ()
    """Policies to serve; empty for all. The variable takes names separated by commas."""
    aliases: Annotated[tuple[str, ...], NoDecode] = (CHAMPION,)
    """Registry aliases to serve. The variable takes names separated by commas."""
    poll_interval: float = Field(5.0, gt=0, le=86_400, validation_alias="POLSERVE_POLL_INTERVAL_S")
    """Seconds between two looks at the registry or the folder."""
    cache_dir: Path | None = None
    """Where versions from a registry are kept, and served from while it is down; None for the user's cache."""
    service: str = "polserve"
    """Name of this service, in the tags that it leaves on registry versions."""
    max_artifact_mib: int = Field(2048, ge=1)
    """Largest version that is downloaded from a registry, in MiB."""
    latency_budget: float = Field(50.0, gt=0, validation_alias="POLSERVE_LATENCY_BUDGET_MS")
    """Milliseconds that a version may take for one observation; a slower one is refused."""
    max_slowdown: float = Field(20.0, ge=1)
    """Times as long as the live version that its successor may take for one observation, where that is above 1 ms."""
    allow_space_change: bool = False
    """Whether a version may have other observations or actions than the live one."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that answer calls."""
    seed: int | None = Field(None, ge=0)
    """Of the explored actions; each process draws from a stream of its own. None for another one at each start."""
    batching: Literal["auto", "on", "off"] = "auto"
    """Whether observations that wait at the same moment go to the model together; auto measures where it pays."""
    max_batch: int = Field(32, ge=1, le=4096)
    """Observations that are put together, at most."""
    max_waiting: int = Field(1024, ge=1)
    """Calls that wait for an answer, for each process; more are refused."""
    max_streams: int = Field(1024, ge=1, le=2**31 - 1)
    """Calls at once on one connection."""
    max_message_mib: int = Field(64, ge=1, le=1024)
    """Largest message, in MiB."""
    keepalive: float = Field(60.0, ge=1, le=86_400, validation_alias="POLSERVE_KEEPALIVE_S")
    """Seconds of silence after which a connection is probed; one that does not answer is closed."""
    max_episodes: int = Field(256, ge=1, le=8192)
    """Open streams of episodes, shared out among the processes."""
    episode_idle: float = Field(300.0, gt=0, le=86_400, validation_alias="POLSERVE_EPISODE_IDLE_S")
    """Seconds after which a stream without a message is ended."""
    retire_after: float = Field(3600.0, gt=0, le=604_800, validation_alias="POLSERVE_RETIRE_AFTER_S")
    """Seconds that episodes may go on with a version that is no longer live."""
    completion_loop: bool = True
    """Answer Act on gRPC's completion queue, where a self-test shows that it works."""
    mlflow_tracking_uri: str | None = Field(None, validation_alias="MLFLOW_TRACKING_URI")
    """Of the MLflow server whose registry is followed."""

    @field_validator("host")
    @classmethod
    def _bare(cls, host: str) -> str:
        """The address without brackets, which only stand around one of IPv6 where a port follows."""
        bare = host.strip().removeprefix("[").removesuffix("]")
        if not bare:
            raise ValueError("expected an address such as 127.0.0.1, or 0.0.0.0 for all")
        return bare

    @field_validator("policy", "aliases", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """The names in a list, or in a text that separates them by commas; an alias may be written with its @."""
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            return value
        names = (name.strip().removeprefix("@") for part in parts for name in str(part).split(","))
        return tuple(name for name in names if name)

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
        digest = hashlib.sha256(f"{self.service} {self.mlflow_tracking_uri}".encode()).hexdigest()
        try:
            home = os.environ.get("XDG_CACHE_HOME")
            folder = self.cache_dir or (Path(home) if home else Path.home() / ".cache") / "polserve"
            return folder.expanduser() / digest[:16]
        except RuntimeError as error:  # as under a container's user that nobody has registered
            raise ConfigurationError(
                "cache-dir: expected a folder to keep the registry's versions in, and this user has no home; "
                "set --cache-dir or POLSERVE_CACHE_DIR"
            ) from error


def load_settings(given: Mapping[str, Any]) -> Settings:
    """The settings: what was `given` first, then the environment, then the defaults.

    Raises:
        ConfigurationError: a value is not what it must be, or two contradict each other.
    """
    try:
        settings = Settings(**{name: value for name, value in given.items() if value not in (None, [], ())})
    except ValidationError as error:
        first = error.errors()[0]
        name = (
            str(first["loc"][0])
            .lower()
            .removeprefix("polserve_")
            .removesuffix("_s")
            .removesuffix("_ms")
            .replace("_", "-")
        )
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{name}: {said[0].lower()}{said[1:]}, got {first['input']!r}") from error
    if settings.grpc_port == settings.http_port != 0:
        raise ConfigurationError(f"http-port: expected another than grpc-port's, got {settings.http_port} for both")
    if settings.max_episodes < settings.workers:
        raise ConfigurationError(
            f"max-episodes: expected at least 1 for each of {settings.workers} workers, got {settings.max_episodes}"
        )
    if settings.policies is not None and settings.mlflow_tracking_uri:
        raise ConfigurationError(
            f"policies is {settings.policies} and the MLflow tracking URI is {settings.registry_address}: "
            "expected one of the two; leave out --policies, or unset MLFLOW_TRACKING_URI"
        )
    return settings


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
