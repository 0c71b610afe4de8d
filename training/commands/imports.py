"""`polserve import`: policies that other tools trained become versions."""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from polserve.protos.shared.figures import figure
from polserve.training.commands.env_kwargs import env_kwargs_of
from polserve.training.commands.sign_key import SignKey, key_given
from polserve.training.environments.limits import EVALUATION_ENVS, EVALUATION_EPISODES, MAX_EVALUATION_STEPS

if TYPE_CHECKING:
    from polserve.training.imports.importing import Read
    from polserve.training.imports.publishing import ImportedVersion
    from polserve.training.imports.request import ImportRequest

imports = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make a version of a policy that another tool trained.",
)

File: TypeAlias = Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False)]
Env: TypeAlias = Annotated[str, typer.Option(help="Gymnasium id of the environment that it was trained in.")]
Module: TypeAlias = Annotated[str, typer.Option(help="Python module that registers the id.")]
EnvKwargs: TypeAlias = Annotated[str, typer.Option(help="Keyword arguments of the environment, as a JSON object.")]
Name: TypeAlias = Annotated[
    str | None, typer.Option(help="Name of the policy. [after the environment, or the file]", show_default=False)
]
Episodes: TypeAlias = Annotated[int, typer.Option(help="Evaluation episodes of it and of the random policy.", min=2)]
MaxSteps: TypeAlias = Annotated[int, typer.Option(help="Cut an evaluation episode off after so many steps.", min=1)]
Envs: TypeAlias = Annotated[int, typer.Option(help="Play in so many environments together, at most.", min=1)]
Register: TypeAlias = Annotated[
    bool, typer.Option(help="Register the version in MLflow; without, it is written into --folder.")
]
Folder: TypeAlias = Annotated[
    Path, typer.Option(help="Folder of policies for --no-register, which `polserve serve --policies` takes.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]

IMPORTED = Path("imported")


@imports.command()
def sb3(
    file: File,
    *,
    env: Env = "",
    module: Module = "",
    env_kwargs: EnvKwargs = "{}",
    name: Name = None,
    normalize: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="VecNormalize's statistics, a .pkl or an .npz; none if it normalised rewards only."
        ),
    ] = "",
    algorithm: Annotated[
        str, typer.Option(help="Algorithm, where the file does not tell it: dqn, qr-dqn, ddpg, td3, sac, ppo or a2c.")
    ] = "",
    activation: Annotated[
        str, typer.Option(help="Activation between layers, where the file does not tell it, such as relu or tanh.")
    ] = "",
    episodes: Episodes = EVALUATION_EPISODES,
    max_steps: MaxSteps = MAX_EVALUATION_STEPS,
    envs: Envs = EVALUATION_ENVS,
    register: Register = True,
    folder: Folder = IMPORTED,
    sign_key: SignKey = None,
    as_json: AsJson = False,
) -> None:
    """Import a .zip of stable-baselines3 or sb3-contrib.

    It is what `model.save()` wrote.
    """
    from polserve.training.imports.request import ImportRequest

    where = None if register else folder
    request = ImportRequest(
        env,
        module,
        env_kwargs_of(env_kwargs),
        name,
        episodes,
        max_steps,
        where,
        sign_key=key_given(sign_key),
        envs=envs,
    )

    def reader() -> "Read":
        from functools import partial

        from polserve.training.imports.sb3.importer import Sb3Options, read_sb3

        return partial(read_sb3, file, Sb3Options(normalize, algorithm, activation))

    carry_out(reader, request, as_json=as_json)


@imports.command()
def cleanrl(
    file: File,
    *,
    env: Env = "",
    module: Module = "",
    env_kwargs: EnvKwargs = "{}",
    name: Name = None,
    normalize: Annotated[
        Path | None,
        typer.Option(
            help="Mean and var of NormalizeObservation, an .npz: the script does not save them.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    activation: Annotated[
        str, typer.Option(help="Activation between layers, where it is not the script's: relu, tanh, elu or silu.")
    ] = "",
    action_bounds: Annotated[
        str,
        typer.Option(metavar="LOW,HIGH", help="Bounds of PPO's continuous actions, where no environment tells them."),
    ] = "",
    episodes: Episodes = EVALUATION_EPISODES,
    max_steps: MaxSteps = MAX_EVALUATION_STEPS,
    envs: Envs = EVALUATION_ENVS,
    register: Register = True,
    folder: Folder = IMPORTED,
    sign_key: SignKey = None,
    as_json: AsJson = False,
) -> None:
    """Import a .cleanrl_model of a script of CleanRL.

    It is what the script writes with --save-model.
    """
    from polserve.training.imports.request import ImportRequest

    where = None if register else folder
    request = ImportRequest(
        env,
        module,
        env_kwargs_of(env_kwargs),
        name,
        episodes,
        max_steps,
        where,
        sign_key=key_given(sign_key),
        envs=envs,
    )
    bounds = _pair("--action-bounds", action_bounds) if action_bounds else None

    def reader() -> "Read":
        from functools import partial

        from polserve.training.imports.cleanrl.importer import CleanrlOptions, read_cleanrl

        return partial(read_cleanrl, file, CleanrlOptions(activation, normalize, bounds))

    carry_out(reader, request, as_json=as_json)


@imports.command()
def onnx(
    file: File,
    *,
    spec: Annotated[
        Path | None,
        typer.Option(help="YAML file that says what the graph takes and gives.", exists=True, dir_okay=False),
    ] = None,
    env: Env = "",
    module: Module = "",
    env_kwargs: EnvKwargs = "{}",
    name: Name = None,
    episodes: Episodes = EVALUATION_EPISODES,
    max_steps: MaxSteps = MAX_EVALUATION_STEPS,
    envs: Envs = EVALUATION_ENVS,
    register: Register = True,
    folder: Folder = IMPORTED,
    sign_key: SignKey = None,
    as_json: AsJson = False,
) -> None:
    """Import an ONNX graph of any tool, mapped by a spec.

    Without --spec, the graph takes the environment's observation and gives actions, or a score for each action.
    """
    from functools import partial

    from polserve.training.imports.graphs.form import GraphForm
    from polserve.training.imports.graphs.spec_file import read_form
    from polserve.training.imports.request import ImportRequest

    form = read_form(spec) if spec else GraphForm()
    where = None if register else folder
    kwargs = env_kwargs_of(env_kwargs)
    request = ImportRequest(
        env or form.environment,
        module,
        kwargs,
        name or form.name,
        episodes,
        max_steps,
        where,
        sign_key=key_given(sign_key),
        envs=envs,
    )

    def reader() -> "Read":
        from polserve.training.imports.graphs.importer import read_onnx

        return partial(read_onnx, file, form)

    carry_out(reader, request, as_json=as_json)


def carry_out(reader: Callable[[], "Read"], request: "ImportRequest", *, as_json: bool) -> None:
    """Import what `reader` makes a reader of, and say what came of it."""
    from rich.console import Console

    from polserve.training.evaluation.game_progress import ConsoleProgress
    from polserve.training.registry.program import prepare_program

    prepare_program()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with console.status("importing torch and MLflow"):
        from polserve.training.imports.importing import import_policy

        read = reader()
    with contextlib.redirect_stdout(sys.stderr):  # an environment that prints is no part of the answer
        version = import_policy(read, request, ConsoleProgress(console, "episodes"))
    if as_json:
        print(json.dumps(_figures(version)))
    else:
        _print_text(version)


def _pair(option: str, text: str) -> tuple[float, float]:
    """Read an option's two numbers, the first below the second; anything else is bad usage."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise typer.BadParameter(f"{option}: expected LOW,HIGH, such as -2,2, got {text!r}")
    return low, high


def _figures(version: "ImportedVersion") -> dict[str, object]:
    parity, source = version.spec.parity, version.spec.provenance.source
    return {
        "policy": version.name,
        "version": version.version,
        "algorithm": version.spec.algorithm,
        "tool": source.tool,
        "sha256": source.sha256,
        "compared_with": parity.compared_with,
        "observations": parity.compared_observations,
        "largest_relative_difference": parity.largest_relative_difference,
        "ties": parity.ties,
        "mean_return": version.evaluation.mean if version.evaluation else None,
        "random_mean_return": version.evaluation.random_summary.mean if version.evaluation else None,
        "is_champion": version.is_champion,
        "folder": str(version.path) if version.path else None,
        "run_id": version.run_id,
    }


def _print_text(version: "ImportedVersion") -> None:
    parity, source, evaluation = version.spec.parity, version.spec.provenance.source, version.evaluation
    name = f"{version.name}/{version.version}"
    differs = (
        f"{parity.ties} ties and no other difference"
        if version.spec.action.WhichOneof("space") != "continuous"
        else f"largest difference {parity.largest_relative_difference:.2g} of an action's range"
    )
    print(
        f"{source.algorithm} of {source.tool}, compared with {parity.compared_with} on "
        f"{parity.compared_observations:,} observations: {differs}"
    )
    if evaluation is not None:
        summary = evaluation.summary
        print(
            f"{version.name} on {evaluation.environment}: {summary}; "
            f"random policy {figure(evaluation.random_summary.mean)}"
        )
    if version.path is not None:
        print(f"wrote {name} into {version.path}; polserve serve --policies {version.path.parents[1]} serves it")
        return
    print(f"MLflow run: {version.page}")
    force = "" if evaluation is not None else " --force --reason WHY"
    after = "@champion, the first version" if version.is_champion else f"not live yet: polserve promote {name}{force}"
    print(f"registered {name}, MLflow run {version.run_id}; {after}")
