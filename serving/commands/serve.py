"""`polserve serve`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

Text = str | None


def setting(meaning: str, variable: str, default: str = "", metavar: str | None = None) -> Any:
    """An option whose variable and default `polserve.serving.settings` reads, and the help shows whole at any width."""
    shown = f"; default: {default}" if default else ""
    return typer.Option(help=f"{meaning} [env var: {variable}{shown}]", metavar=metavar)


def serve(
    host: Annotated[Text, setting("Address to bind.", "POLSERVE_HOST", "127.0.0.1")] = None,
    grpc_port: Annotated[int | None, setting("gRPC port, 0 for any.", "POLSERVE_GRPC_PORT", "50051")] = None,
    http_port: Annotated[int | None, setting("HTTP port, 0 for any.", "POLSERVE_HTTP_PORT", "8080")] = None,
    policies: Annotated[
        Path | None,
        setting("Folder of policy versions.", "POLSERVE_POLICIES", "the bundled policies"),
    ] = None,
    policy: Annotated[
        list[str] | None,
        setting("A policy to serve; repeat for more.", "POLSERVE_POLICY", "all", metavar="NAME"),
    ] = None,
    alias: Annotated[
        list[str] | None,
        setting("A registry alias to serve; repeat for more.", "POLSERVE_ALIASES", "champion", metavar="NAME"),
    ] = None,
    poll_interval: Annotated[
        float | None,
        setting("Seconds between two looks at the source.", "POLSERVE_POLL_INTERVAL_S", "5"),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        setting("Where registry versions are kept.", "POLSERVE_CACHE_DIR", "~/.cache/polserve"),
    ] = None,
    service: Annotated[
        Text,
        setting("Name in the tags left on registry versions.", "POLSERVE_SERVICE", "polserve"),
    ] = None,
    max_artifact_mib: Annotated[
        int | None,
        setting("Largest registry version, in MiB.", "POLSERVE_MAX_ARTIFACT_MIB", "2048"),
    ] = None,
    latency_budget: Annotated[
        float | None,
        setting("Milliseconds that a version may take for an observation.", "POLSERVE_LATENCY_BUDGET_MS", "50"),
    ] = None,
    max_slowdown: Annotated[
        float | None,
        setting("Times what the live version takes that its successor may.", "POLSERVE_MAX_SLOWDOWN", "20"),
    ] = None,
    allow_space_change: Annotated[
        bool | None,
        setting("Let a version have other observations or actions.", "POLSERVE_ALLOW_SPACE_CHANGE", "off"),
    ] = None,
    workers: Annotated[int | None, setting("Processes that answer.", "POLSERVE_WORKERS", "1")] = None,
    seed: Annotated[int | None, setting("Of explored actions.", "POLSERVE_SEED", "another each time")] = None,
    batching: Annotated[
        Text,
        setting("Answer what waits together: auto, on or off.", "POLSERVE_BATCHING", "auto"),
    ] = None,
    max_batch: Annotated[int | None, setting("Observations put together.", "POLSERVE_MAX_BATCH", "32")] = None,
    max_waiting: Annotated[
        int | None,
        setting("Calls that may wait, for each process.", "POLSERVE_MAX_WAITING", "1024"),
    ] = None,
    max_streams: Annotated[
        int | None, setting("Calls at once on a connection.", "POLSERVE_MAX_STREAMS", "1024")
    ] = None,
    max_message_mib: Annotated[
        int | None, setting("Largest message, in MiB.", "POLSERVE_MAX_MESSAGE_MIB", "64")
    ] = None,
    keepalive: Annotated[
        float | None,
        setting("Seconds before a silent client is probed.", "POLSERVE_KEEPALIVE_S", "60"),
    ] = None,
    max_episodes: Annotated[
        int | None, setting("Open episodes, of all processes.", "POLSERVE_MAX_EPISODES", "256")
    ] = None,
    episode_idle: Annotated[
        float | None,
        setting("Seconds before an idle episode is ended.", "POLSERVE_EPISODE_IDLE_S", "300"),
    ] = None,
    retire_after: Annotated[
        float | None,
        setting("Seconds that episodes outlive their version.", "POLSERVE_RETIRE_AFTER_S", "3600"),
    ] = None,
    completion_loop: Annotated[
        bool | None,
        setting("Answer on gRPC's completion queue.", "POLSERVE_COMPLETION_LOOP", "on"),
    ] = None,
    tracking_uri: Annotated[Text, setting("MLflow server whose registry is followed.", "MLFLOW_TRACKING_URI")] = None,
) -> None:
    """Run the service, which answers over gRPC.

    It follows a registry's aliases, or serves a folder of versions. docs/settings.md says more of each option.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what matters of it is raised, and logged as an event
    import structlog

    from polserve.serving.logs import configure_logs
    from polserve.serving.settings import ignore_foreign_variables, load_settings

    configure_logs()
    for name in ignore_foreign_variables():  # before prometheus-client is imported, which reads one of them then
        structlog.get_logger().warning("foreign_variable_ignored", name=name)

    from polserve.serving.addresses import spelled
    from polserve.serving.service import Service, run

    settings = load_settings(
        {
            "host": host,
            "grpc_port": grpc_port,
            "http_port": http_port,
            "policies": policies,
            "policy": policy,
            "aliases": alias,
            "poll_interval": poll_interval,
            "cache_dir": cache_dir,
            "service": service,
            "max_artifact_mib": max_artifact_mib,
            "latency_budget": latency_budget,
            "max_slowdown": max_slowdown,
            "allow_space_change": allow_space_change,
            "workers": workers,
            "seed": seed,
            "batching": batching,
            "max_batch": max_batch,
            "max_waiting": max_waiting,
            "max_streams": max_streams,
            "max_message_mib": max_message_mib,
            "keepalive": keepalive,
            "max_episodes": max_episodes,
            "episode_idle": episode_idle,
            "retire_after": retire_after,
            "completion_loop": completion_loop,
            "mlflow_tracking_uri": tracking_uri,
        }
    )

    def announce(running: Service) -> None:
        source = settings.registry_address or settings.policies or "the bundled policies"
        print(f"polserve: gRPC {spelled(settings.host, running.grpc_port)}, ", end="")
        print(f"HTTP http://{spelled(settings.host, running.http_port)}, following {source}", flush=True)

    run(settings, announce)
