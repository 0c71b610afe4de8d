"""`polserve serve`, whose options are the settings of the service."""

import inspect
import os
from typing import Annotated, Any

import typer

from polserve.serving.setting_forms import SettingForm
from polserve.serving.settings import FORMS, ignore_foreign_variables, load_settings


def serve(**given: Any) -> None:
    """Run the service, which answers over gRPC and HTTP.

    It follows the aliases of an MLflow registry, or serves a folder of policy versions, and shows its console to a
    browser. Each option is an environment variable, too; an option wins over its variable.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what matters of it is raised, and logged as an event
    from polserve.serving.logs import Log

    for name in ignore_foreign_variables():  # before prometheus-client is imported, which reads one of them then
        Log().warning("foreign_variable_ignored", name=name)

    from polserve.serving.validation.validator import Validator

    settings = load_settings(given)
    validator = Validator(settings)
    validator.warm_up()  # it imports what it needs while this process does
    from polserve.serving.addresses import spelled
    from polserve.serving.service import Service, run_service

    def announce(running: Service) -> None:
        source = settings.registry_address or settings.policies or "the bundled policies"
        tls = " (TLS)" if settings.tls_files else ""
        local = f" and unix:{settings.grpc_socket}" if settings.grpc_socket else ""
        print(f"polserve: gRPC {spelled(settings.host, running.grpc_port)}{tls}{local}, ", end="")
        scheme = "https" if settings.tls_files else "http"
        print(f"HTTP {scheme}://{spelled(settings.host, running.http_port)}, following {source}", flush=True)

    run_service(settings, validator, announce)


def _parameter(form: SettingForm) -> inspect.Parameter:
    """Make the option of one setting, read as text: `load_settings` judges flags and variables alike.

    The help shows variable and default whole at any width, which typer's own form of them does not.
    """
    kind: Any = bool if form.is_switch else list[str] if form.is_repeatable else str
    shown = f"{form.meaning} [env var: {form.variable}; default: {form.default}]"
    option = typer.Option(form.flags, help=shown, metavar=form.value)
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(form.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


serve.__signature__ = inspect.Signature([_parameter(form) for form in FORMS.values()])  # type: ignore[attr-defined]
