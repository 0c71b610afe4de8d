"""`polserve act`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polserve.protos.shared.paths import expanded
from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, require_service
from polserve.serving.commands.version_option import split_name

if TYPE_CHECKING:
    from polserve.serving.client import Action, ActionSpace

MOST_SHOWN = 200
"""Characters of an observation that an error repeats."""


def act(
    policy: Annotated[str, typer.Argument(help="Policy to ask: NAME, NAME/VERSION or NAME@ALIAS.")],
    observation: Annotated[
        str,
        typer.Option(
            help="Observation, or a batch of them, as a JSON list, or as a JSON object of its parts; @FILE for a "
            "file of JSON or of numpy (.npy), - for JSON on the standard input."
        ),
    ],
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
    given, shown = _read(observation)
    require_service(target, wait)
    with PolicyClient(target) as client:
        try:
            answer = client.act(policy, given, version=version, with_values=with_values)
        except ValueError as error:
            raise typer.BadParameter(f"{error}; --observation was {shown}") from error
        spaces = {live.version: live.action for live in client.policy(policy).versions}
    space = spaces.get(answer.version)
    values = None if answer.values is None else answer.values.tolist()
    if as_json:
        print(json.dumps({"action": answer.action.tolist(), "version": answer.version, "values": values}))
        return
    print(f"action {answer.action.tolist()}{_described(answer, space)} by {answer.policy}/{answer.version}")
    if values is not None:
        print(f"values {values}")


def _read(observation: str) -> tuple[Any, str]:
    """Return an observation, and how an error shows it; raises BadParameter where there is none."""
    if observation.startswith("@") and observation.endswith(".npy"):
        return _read_npy(Path(expanded(observation[1:]))), observation
    text, shown = _text_of(observation)
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"expected JSON such as '[0, 0, 0, 0]', got {shown} ({error})") from error
    if not isinstance(given, (list, dict, int)) or isinstance(given, bool):
        raise typer.BadParameter(
            f"expected a JSON list such as '[0, 0, 0, 0]', an object of parts such as '{{\"speed\": 0}}', or a whole "
            f"number, got {shown}"
        )
    return tuple(given) if isinstance(given, list) else given, shown  # which may be the parts of a Tuple


def _text_of(observation: str) -> tuple[str | bytes, str]:
    """Return the JSON, and how an error shows it; raises BadParameter where a file cannot be read."""
    if observation == "-":
        return sys.stdin.buffer.read(), "the standard input"
    if observation.startswith("@"):
        try:
            return Path(expanded(observation[1:])).read_bytes(), observation
        except OSError as error:
            raise typer.BadParameter(f"expected a file of JSON or numpy, got {observation} ({error})") from error
    return observation, repr(observation if len(observation) <= MOST_SHOWN else f"{observation[:MOST_SHOWN]}...")


def _read_npy(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise typer.BadParameter(f"expected a file that numpy.save has written, got {path} ({error})") from error


def _described(answer: "Action", space: "ActionSpace | None") -> str:
    """Label of a single action, or the names of its components; "" where the spec has none."""
    if space is None:
        return ""
    if space.labels and answer.action.ndim == 0:
        return f" ({space.labels[int(answer.action) - space.start]})"
    if space.choices and space.names and answer.action.shape == space.shape:
        named = zip(space.names, answer.action.ravel().tolist(), strict=True)
        return f" ({', '.join(f'{name} {value}' for name, value in named)})"
    return ""
