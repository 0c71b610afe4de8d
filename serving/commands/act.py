"""`polserve act`."""

import json
from typing import Annotated

import typer

from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, require_service
from polserve.serving.commands.version_option import split_name

MOST_SHOWN = 200
"""Characters of an observation that an error repeats."""


def act(
    policy: Annotated[str, typer.Argument(help="Policy to ask: NAME, NAME/VERSION or NAME@ALIAS.")],
    observation: Annotated[str, typer.Option(help="Observation, or a batch of them, as a JSON list.")],
    *,
    version: Annotated[str, typer.Option(help='Version to ask: a number or "@alias". [default: the champion]')] = "",
    with_values: Annotated[bool, typer.Option("--values", help="Print the Q-values, too.")] = False,
    target: Target = DEFAULT_TARGET,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the service for one action."""
    from polserve.serving.client import PolicyClient

    policy, version = split_name(policy, version)
    shown = repr(observation if len(observation) <= MOST_SHOWN else f"{observation[:MOST_SHOWN]}...")
    try:
        array = json.loads(observation)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"expected JSON such as '[0, 0, 0, 0]', got {shown}") from error
    if not isinstance(array, list):
        raise typer.BadParameter(f"expected a JSON list such as '[0, 0, 0, 0]', got {shown}")
    require_service(target, wait)
    with PolicyClient(target) as client:
        try:
            answer = client.act(policy, array, version=version, with_values=with_values)
        except ValueError as error:
            raise typer.BadParameter(f"{error}; --observation was {shown}") from error
        spaces = {live.version: live.action for live in client.policy(policy).versions}
    labels = spaces[answer.version].labels if answer.version in spaces else ()
    values = None if answer.values is None else answer.values.tolist()
    if as_json:
        print(json.dumps({"action": answer.action.tolist(), "version": answer.version, "values": values}))
        return
    label = f" ({labels[int(answer.action)]})" if labels and answer.action.ndim == 0 else ""
    print(f"action {answer.action.tolist()}{label} by {answer.policy}/{answer.version}")
    if values is not None:
        print(f"values {values}")
