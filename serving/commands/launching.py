"""The start of the service, from its settings: what takes long begins first."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polserve.serving.logs import Log
from polserve.serving.memory import collect_later
from polserve.serving.settings.settings import ignore_foreign_variables, load_settings, misspelt_variables

if TYPE_CHECKING:
    from polserve.serving.service import Service


def launch(given: Mapping[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT, by the settings that were `given` and those of the environment.

    Raises:
        ConfigurationError: the service cannot start as it was told to.
    """
    collect_later()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what matters of it is raised, and logged as an event
    for name in ignore_foreign_variables():  # before prometheus-client is imported, which reads one of them then
        Log().warning("foreign_variable_ignored", name=name)
    settings = load_settings(given)
    for name, near in misspelt_variables().items():
        Log().warning("unknown_variable", name=name, near=near)

    from polserve.serving.validation.validator import Validator

    validator = Validator(settings)
    validator.warm_up()  # it imports what it needs while this process does, as the source's child does
    from polserve.serving.sources.making import make_source

    source = make_source(settings)
    if settings.trusted_keys is None:  # else nothing is loaded before its signature was checked
        from polserve.serving.rollout import first_of

        validator.begin(first_of(source.desired_at_once()))
    from polserve.serving.addresses import spelled
    from polserve.serving.service import run_service

    def announce(running: "Service") -> None:
        followed = settings.registry_address or settings.policies or "the bundled policies"
        tls = " (TLS)" if settings.tls_files else ""
        local = f" and unix:{settings.grpc_socket}" if settings.grpc_socket else ""
        print(f"polserve: gRPC {spelled(settings.host, running.grpc_port)}{tls}{local}, ", end="")
        scheme = "https" if settings.tls_files else "http"
        print(f"HTTP {scheme}://{spelled(settings.host, running.http_port)}, following {followed}", flush=True)

    run_service(settings, validator, source, announce)
