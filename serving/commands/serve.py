"""`polserve serve`, whose options are the settings of the service."""

import inspect
from typing import Annotated, Any

import typer

from polserve.serving.commands.launching import launch
from polserve.serving.settings.forms import SettingForm
from polserve.serving.settings.settings import FORMS


def serve(**given: Any) -> None:
    """Run the service, which answers over gRPC and HTTP.

    It follows the aliases of an MLflow registry, or serves a folder of policy versions, and shows its console to a
    browser. Each option is an environment variable, too; an option wins over its variable.
    """
    launch(given)


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
