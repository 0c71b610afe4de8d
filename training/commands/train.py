"""`polserve train`."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from polserve.protos.shared.figures import figure
from polserve.training.commands.env_kwargs import env_kwargs_of
from polserve.training.commands.sign_key import SignKey, key_given

if TYPE_CHECKING:
    from rich.console import Console

    from polserve.training.runs.pipeline import RunResult
    from polserve.training.runs.recipe import Recipe


class Device(StrEnum):
    """Where to learn."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Algorithm(StrEnum):
    """What can be trained."""

    DQN = "dqn"
    PQN = "pqn"
    DDPG = "ddpg"
    TD3 = "td3"
    SAC = "sac"


Text = str | None
Given = TypeVar("Given")


def _is_told_in_help(context: typer.Context, _parameter: typer.CallbackParam, value: Given) -> Given:
    """Let the help, where it is asked for, end with what --set takes, as the arguments before it have it."""
    context.command.format_epilog = _write_settings  # type: ignore[method-assign, assignment]
    return value


def _write_settings(context: Any, formatter: Any) -> None:
    """Write what --set takes: for the algorithm, and in the environment where that is given; nothing without --algo."""
    from polserve.training.commands.listing import algorithm_listing, listing
    from polserve.training.errors import TrainingError
    from polserve.training.runs.request import TrainRequest

    given, command = context.params, context.command
    if not given.get("algo"):
        return
    algorithm = Algorithm(given["algo"]).value
    refused = ""
    told = algorithm_listing(algorithm)
    if given.get("env"):
        try:
            request = TrainRequest(
                environment=given["env"],
                algo=algorithm,
                module=given.get("module") or "",
                env_kwargs=env_kwargs_of(given.get("env_kwargs") or "{}"),
                options=_options(given.get("option"), given.get("steps")),
            )
            told = listing(request.recipe())
        except (TrainingError, typer.BadParameter) as error:  # the help is still of use
            refused = f"This run would be refused: {error}\n\n"
            told = algorithm_listing(algorithm, is_env_given=True)
    # NOTE: "\b" keeps a paragraph's lines as they are.
    command.epilog = f"{refused}\b\n" + "\n".join(told).replace("\n\n", "\n\n\b\n")
    type(command).format_epilog(command, context, formatter)


def train(
    preset: Annotated[
        Text,
        typer.Argument(help="A preset, such as cartpole; --list names them all. Or give --algo and --env."),
    ] = None,
    *,
    algo: Annotated[
        Algorithm | None,
        typer.Option(
            help="Algorithm, for an environment without a preset; --algo NAME --help lists what --set takes.",
            callback=_is_told_in_help,
            is_eager=True,
        ),
    ] = None,
    env: Annotated[
        Text,
        typer.Option(
            help="Gymnasium id of the environment, or gym:ID for one of the unmaintained gym.",
            callback=_is_told_in_help,
            is_eager=True,
        ),
    ] = None,
    module: Annotated[
        str, typer.Option(help="Python module that registers the id.", callback=_is_told_in_help, is_eager=True)
    ] = "",
    env_kwargs: Annotated[
        str,
        typer.Option(
            help="Keyword arguments of the environment, as a JSON object.", callback=_is_told_in_help, is_eager=True
        ),
    ] = "{}",
    data: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with the history of the account that an allocator is trained for.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    lift: Annotated[
        Path | None,
        typer.Option(help="CSV file of lift tests, which the history is fitted with.", exists=True, dir_okay=False),
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(
            help="JSON or CSV file of response curves that another tool fitted, in place of a history.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    target_roas: Annotated[
        float | None,
        typer.Option(help="Return on ad spend to keep to, in place of spending all of a budget."),
    ] = None,
    target_marginal: Annotated[
        float | None,
        typer.Option(help="Least return of a unit of money that is worth spending, likewise."),
    ] = None,
    name: Annotated[Text, typer.Option(help="Name of the policy in the registry.")] = None,
    seed: Annotated[int, typer.Option(help="Seed that everything random follows from.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Environment steps; training ends with the step of all environments that reaches them.",
            min=1,
            callback=_is_told_in_help,
            is_eager=True,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A hyper-parameter; repeat for more. --list has the names.",
            callback=_is_told_in_help,
            is_eager=True,
        ),
    ] = None,
    is_list: Annotated[
        bool,
        typer.Option(
            "--list", help="Print the presets and hyper-parameters, or those of one preset, without training."
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            help="Begin with the weights in a run's folder or a policy version's.", exists=True, file_okay=False
        ),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the checkpoint. [runs/<policy>-seed<seed>]")] = None,
    device: Annotated[
        Device, typer.Option(help="Device to learn on; auto takes the GPU if there is one.")
    ] = Device.AUTO,
    threads: Annotated[int | None, typer.Option(help="CPU threads, 0 for all cores. [the preset's]", min=0)] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files for TensorBoard into the run's folder, too.")
    ] = False,
    register: Annotated[bool, typer.Option(help="Register a version at the end.")] = True,
    sign_key: SignKey = None,
) -> None:
    """Train a policy and register a version of it in MLflow.

    The policy is evaluated and exported first. MLFLOW_TRACKING_URI names the MLflow server; without it, runs and
    versions are kept in ./mlflow.db.
    """
    from rich.console import Console

    from polserve.training.registry.program import prepare_program
    from polserve.training.runs.preflight import Beginning, check
    from polserve.training.runs.request import TrainRequest

    if is_list and preset is None and env is None:
        from polserve.training.commands.listing import algorithm_listing, listing

        return print("\n".join(algorithm_listing(algo.value) if algo else listing()))
    if resume and init_from:
        raise typer.BadParameter("--init-from begins a run and --resume goes on with one; leave out either")
    request = TrainRequest(
        environment=_what(preset, algo, env),
        algo=algo.value if algo else None,
        module=module,
        env_kwargs=env_kwargs_of(env_kwargs),
        name=name,
        seed=seed,
        options=_options(option, steps),
        threads=threads,
        data=data,
        curves=curves,
        lift=lift,
        target_roas=target_roas,
        target_marginal=target_marginal,
    )
    recipe = request.recipe()
    if is_list:
        from polserve.training.commands.listing import listing

        return print("\n".join(listing(recipe)))
    key = key_given(sign_key)
    folder = run_dir or request.default_folder(recipe.policy, is_resumed=resume)
    prepare_program()
    facts = check(recipe, seed, Beginning(folder, resume, init_from, tensorboard))
    console = Console(highlight=False, soft_wrap=True)
    if request.is_configured:
        from polserve.training.runs.stages import Stages

        recipe, facts = request.configured(recipe, Stages(console))
    console.print(f"training {recipe.policy} in {recipe.environment.id}, seed {seed}; checkpoints in {folder}")
    with console.status("importing torch and MLflow"):
        from polserve.training.runs.beginning import RunOptions
        from polserve.training.runs.pipeline import train_policy
    run_options = RunOptions(folder, resume, register, device.value, init_from, tensorboard, sign_key=key)
    return _report(train_policy(recipe, seed, run_options, console, facts), recipe, folder, console)


def _report(result: "RunResult", recipe: "Recipe", folder: Path, console: "Console") -> None:
    """Say what came of the run."""
    import math

    if result.registered_before is not None:
        name = f"{recipe.policy}/{result.registered_before}"
        console.print(
            f"this run is finished, and registered as {name} already, so it is not registered again; "
            "--name OTHER registers it under another name"
        )
        return
    if result.evaluation is None:
        best = result.training.best_score
        score = "" if math.isnan(best) else f"; best greedy evaluation {figure(best)}"
        console.print(
            f"stopped at step {result.training.step:,}{score}; "
            f"saved in {folder}: give the same command with --resume to go on",
        )
        raise typer.Exit(130)
    summary, at_random = result.evaluation.summary, result.evaluation.random_summary
    console.print(
        f"{recipe.policy} on {recipe.environment.id}: {summary}; random policy {figure(at_random.mean)}",
    )
    console.print(f"report: {folder / 'report'}")
    console.print(f"MLflow run: {result.page}")
    if result.version is not None:
        name = f"{recipe.policy}/{result.version}"
        after = "@champion, the first version" if result.is_champion else f"not live yet: polserve promote {name}"
        console.print(f"registered {name}, MLflow run {result.run_id}; {after}")


def _options(option: Sequence[str] | None, steps: int | None) -> list[str]:
    """Hyper-parameters as name=value, with the number of steps among them where it is given."""
    return [*(option or []), *([f"steps={steps}"] if steps else [])]


def _what(preset: Text, algo: Algorithm | None, env: Text) -> str:
    """Preset or id that the arguments name."""
    from polserve.training.runs.presets import PRESETS

    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"expected one of {', '.join(PRESETS)}, got {preset!r}; or give --algo and --env")
    if preset is not None and (algo or env):
        raise typer.BadParameter("a preset fixes the environment; leave out --algo and --env")
    if preset is None and (algo is None or env is None):
        raise typer.BadParameter(f"expected a preset ({', '.join(PRESETS)}), or --algo and --env")
    return preset or env or ""
