"""`polserve serve`."""

import os
from pathlib import Path
from typing import Annotated

import typer

Text = str | None


def serve(
    host: Annotated[Text, typer.Option(help="Address to bind. [POLSERVE_HOST; 127.0.0.1]")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC port, 0 for any. [POLSERVE_GRPC_PORT; 50051]")] = None,
    http_port: Annotated[int | None, typer.Option(help="HTTP port, 0 for any. [POLSERVE_HTTP_PORT; 8080]")] = None,
    policies: Annotated[
        Path | None, typer.Option(help="Folder of policy versions. [POLSERVE_POLICIES; the bundled policies]")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="A policy to serve; repeat for more. [POLSERVE_POLICY; all]")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="A registry alias to serve; repeat for more. [POLSERVE_ALIASES; champion]")
    ] = None,
    poll_interval: Annotated[
        float | None, typer.Option(help="Seconds between two looks at the source. [POLSERVE_POLL_INTERVAL_S; 5]")
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where registry versions are kept. [POLSERVE_CACHE_DIR; ~/.cache/polserve]")
    ] = None,
    service: Annotated[
        Text, typer.Option(help="Name in the tags left on registry versions. [POLSERVE_SERVICE; polserve]")
    ] = None,
    tracking_uri: Annotated[
        Text, typer.Option(help="MLflow server whose registry is followed. [MLFLOW_TRACKING_URI]")
    ] = None,
) -> None:
    """Run the service: follow a registry's aliases, or serve a folder, and answer over gRPC."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what matters of it is raised, and logged as an event
    from serving.logs import configure_logs
    from serving.service import Service, run
    from serving.settings import load_settings

    configure_logs()
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
            "mlflow_tracking_uri": tracking_uri,
        }
    )

    def announce(running: Service) -> None:
        source = settings.registry_address or settings.policies or "the bundled policies"
        print(f"polserve: gRPC {settings.host}:{running.grpc_port}, ", end="")
        print(f"HTTP http://{settings.host}:{running.http_port}, following {source}", flush=True)

    run(settings, announce)
