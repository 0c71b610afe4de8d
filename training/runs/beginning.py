"""How a run begins: anew, from the weights of another, or where its checkpoint left it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.makers import has_own_name
from polserve.training.learning.compute import Device
from polserve.training.registry.pages import run_page
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.runs import checkpoint
from polserve.training.runs import folder as run_folder
from polserve.training.runs.doubts import exploration_note
from polserve.training.runs.identity import check_same_run, identity_of
from polserve.training.runs.initial_weights import InitialWeights
from polserve.training.runs.preflight import Beginning, check_beginning
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.record import params_of, tags_of
from polserve.training.runs.stages import Stages
from polserve.training.runs.trainee import Trainee, build_trainee
from polserve.training.versions.provenance import describe_run, environment_commit

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EXPERIMENT = "polserve"
"""MLflow experiment of all runs."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out; none of it changes what is learned."""

    folder: Path
    """Folder of the checkpoint and of the report."""
    is_resumed: bool
    is_registered: bool
    """Whether a version is registered at the end."""
    device: Device = "auto"
    init_from: Path | None = None
    """Folder of a run or a policy version whose weights to begin with."""
    has_tensorboard: bool = False
    """Whether event files of TensorBoard are written."""
    tracking_uri: str | None = None
    """The MLflow store; None for that of MLFLOW_TRACKING_URI, or the default one."""
    sign_key: "Ed25519PrivateKey | None" = None
    """What signs the version; None for no signature."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has begun."""

    recipe: Recipe
    seed: int
    options: RunOptions
    trainee: Trainee
    initial: InitialWeights
    """The weights that it began with."""
    tracked: TrackedRun
    """The run as MLflow keeps it."""
    registry: PolicyRegistry
    page: str
    """Where MLflow shows the run."""
    provenance: pb.Provenance
    """Where its version will have come from; the length of this run is still to be added."""
    is_finished: bool = False
    """Whether it was resumed with nothing left to learn."""

    def state(self) -> dict[str, Any]:
        """Everything that `begin` needs to go on."""
        return {
            **self.trainee.state(),
            "run_id": self.tracked.run_id,
            "identity": _identity(self.recipe, self.seed, self.trainee),
            "initial_weights": asdict(self.initial),
        }


def begin(
    recipe: Recipe, seed: int, options: RunOptions, console: Console, facts: EnvironmentFacts | None = None
) -> Run:
    """Begin a run, or go on with the one whose checkpoint is in the folder; `facts` where they are known already.

    A checkpoint that another run left in the folder is renamed, and not overwritten.

    Raises:
        TrainingError: something that the user can mend.
    """
    check_beginning(recipe, Beginning(options.folder, options.is_resumed, options.init_from, options.has_tensorboard))
    run_folder.prepare(options.folder)
    trainee = build_trainee(recipe, seed, options.device, facts)
    for note in trainee.notes:
        console.print(f"note: {note}")
    saved = checkpoint.load(options.folder) if options.is_resumed else None
    client = connect(options.tracking_uri)
    if saved is not None:
        ours, maker = _identity(recipe, seed, trainee), recipe.environment.maker
        check_same_run(saved["identity"], ours, is_by_maker=maker is not None and not has_own_name(maker))
        trainee.load_state(saved)
        initial = InitialWeights(**saved["initial_weights"])
        provenance = _provenance(recipe, seed, initial, trainee.device)
        tracked = TrackedRun(client, saved["run_id"])
        tracked.tag_changes({**params_of(recipe, seed), **tags_of(recipe, trainee.agent.algorithm, provenance)})
        console.print(_resumed(trainee, recipe, options.folder))
    else:
        initial = _initial(trainee, recipe, options.init_from, Stages(console))
        if said := exploration_note(recipe):
            console.print(f"note: {said}")
        provenance = _provenance(recipe, seed, initial, trainee.device)
        tags = tags_of(recipe, trainee.agent.algorithm, provenance)
        tracked = TrackedRun.start(client, EXPERIMENT, f"{recipe.policy}-seed{seed}", tags)
        if aside := run_folder.set_aside(options.folder):
            console.print(
                f"note: another run's checkpoint was there: it is {aside} now; --resume would have gone on with it"
            )
        tracked.log_params(params_of(recipe, seed))
    provenance.run_id = tracked.run_id
    page = run_page(client, tracked.run_id)
    is_finished = saved is not None and trainee.loop.is_reached
    return Run(recipe, seed, options, trainee, initial, tracked, PolicyRegistry(client), page, provenance, is_finished)


def _initial(trainee: Trainee, recipe: Recipe, folder: Path | None, stages: Stages) -> InitialWeights:
    """Take over the weights in a folder, and say how far their evaluation is; leave them random without one."""
    if folder is None:
        return InitialWeights()
    games = recipe.loop.selection_episodes
    with stages.stage(f"playing {games:,} games with the weights to begin with", games) as stage:
        return trainee.begin_from(folder, stage.reach)


def _identity(recipe: Recipe, seed: int, trainee: Trainee) -> dict[str, str]:
    return identity_of(recipe, seed, trainee.environment.graph_wrappers, trainee.view.highest)


def _resumed(trainee: Trainee, recipe: Recipe, folder: Path) -> str:
    """Say where a run goes on, or why it does not."""
    step, loop = trainee.loop.step, recipe.loop
    if not trainee.loop.is_reached:
        return f"resuming at step {step:,} of about {loop.steps:,}, from {folder / run_folder.FILE_NAME}"
    if step >= loop.steps:
        return (
            f"nothing is left to learn: the run in {folder} is at step {step:,} of about {loop.steps:,}; "
            "give more steps to go on"
        )
    return (
        f"nothing is left to learn: the run in {folder}, at step {step:,} of about {loop.steps:,}, reached "
        f"stop_return={loop.stop_return:g}; set a higher one, or none, to go on"
    )


def _provenance(recipe: Recipe, seed: int, initial: InitialWeights, device: torch.device) -> pb.Provenance:
    """Where the version will have come from, but for the run's id, told by the code that this process runs."""
    provenance = describe_run(seed, recipe.params(), device)
    provenance.environment_git_commit = environment_commit(recipe.environment)
    provenance.initial_weights = initial.description
    provenance.environment_steps, provenance.training_hours = initial.environment_steps, initial.hours
    provenance.selection_steps = initial.selection_steps
    return provenance
