"""The option --env-kwargs, which several commands take."""

import json
from typing import Any

import typer


def env_kwargs_of(text: str) -> dict[str, Any]:
    """Read the option's JSON object; anything else is bad usage."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"--env-kwargs: expected a JSON object such as '{{\"goal\": 1}}', got {text!r}")
    return value
