"""`polserve play`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from polserve.serving.commands.target import DEFAULT_TARGET, DEFAULT_WAIT_S, Target, Wait, require_service
from polserve.serving.commands.version_option import split_name
from polserve.training.environments.limits import MAX_EVALUATION_STEPS


def play(
    policy: Annotated[str, typer.Argument(help="POLICY, POLICY/VERSION or POLICY@ALIAS.")],
    *,
    version: Annotated[str, typer.Option(help='Ask this version: "" for the champion, a number, or "@alias".')] = "",
    episodes: Annotated[int, typer.Option(help="Play so many whole episodes.", min=1)] = 3,
    max_steps: Annotated[
        int, typer.Option(help="Cut an episode off after so many steps.", min=1)
    ] = MAX_EVALUATION_STEPS,
    env: Annotated[
        str, typer.Option(help="Play this Gymnasium id, not the policy's own; its observations must be the same.")
    ] = "",
    module: Annotated[str, typer.Option(help="Import this Python module, which registers the environment.")] = "",
    gif: Annotated[Path | None, typer.Option(help="Write the first episode as an animated GIF.")] = None,
    target: Target = DEFAULT_TARGET,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play episodes of a policy's environment against the service."""
    from polserve.serving.client import PolicyClient
    from polserve.training.environments.making import EVALUATION_FIRST_SEED
    from polserve.training.play import GifWriter, Player, play_on_service

    if gif and not gif.resolve().parent.is_dir():
        raise typer.BadParameter(f"--gif: expected a file in a folder that exists, got {gif}")
    if gif and gif.suffix != ".gif":
        raise typer.BadParameter(f"--gif: expected a name that ends in .gif, got {gif}")
    policy, version = split_name(policy, version)
    writer = GifWriter()
    require_service(target, wait)
    with PolicyClient(target) as client:
        player = Player(client, policy, version, module, max_steps, env)
        played = list(play_on_service(player, 1, on_frame=writer.add)) if gif else []
        seed = EVALUATION_FIRST_SEED + len(played)
        rest = play_on_service(player, episodes - len(played), first_seed=seed)
        for index, episode in enumerate((*played, *rest)):
            if as_json:
                print(
                    json.dumps(
                        {"return": episode.episode_return, "steps": episode.length, "versions": episode.versions}
                    )
                )
            else:
                versions = ", ".join(f"{policy}/{number}" for number in episode.versions)
                length = f"{episode.length} steps{', cut off' if episode.is_cut_off else ''}"
                print(f"episode {index + 1}: return {episode.episode_return:g} in {length}, by {versions}")
    if gif:
        writer.write(gif)
        print(f"wrote {gif}", file=sys.stderr if as_json else sys.stdout)
