"""`train`: learn a policy, evaluate it, and export one version of it."""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from numpy.typing import NDArray
from rich.console import Console

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.durable import new_folder
from polserve.protos.shared.names import MODEL_FILE
from polserve.training.environments.makers import EnvMaker
from polserve.training.errors import (
    require,
    require_given,
    require_json,
    require_kind,
    require_whole,
)
from polserve.training.evaluation.evaluation import Evaluation
from polserve.training.learning.compute import Device, kept_threads
from polserve.training.learning.interrupts import ctrl_c
from polserve.training.learning.progress import TrainingResult
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.runs import folder as run_folder
from polserve.training.runs.beginning import EXPERIMENT, RunOptions, begin
from polserve.training.runs.pipeline import Learned, learn, publish, resumable
from polserve.training.runs.preflight import Beginning, check
from polserve.training.runs.request import TrainRequest, as_settings
from polserve.training.runs.stages import Stages
from polserve.training.versions.acting import batch_of
from polserve.training.versions.onnx_policy import OnnxPolicy
from polserve.training.versions.version import PolicyVersion
from polserve.training.wording import as_arguments, naming_arguments

VERSIONS = "policies"
"""Folder, in a run's, of the versions, which `polserve serve` takes as `--policies`."""
RENAMED = {"env": "environment"}
"""Arguments of `train` that have other names than the options of the command."""
ADVICE = ("note: ", "warning: ")
"""Beginnings of the lines that may advise an option."""


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A policy version that was trained here: evaluated, exported, and in a folder; registered when you say so."""

    name: str
    """The policy's name."""
    path: Path
    """Folder of the version. Its grandparent is a folder that `polserve serve` takes as `--policies`."""
    evaluation: Evaluation
    """Returns of the policy and of the random one, over whole episodes on seeds that training never used."""
    training: TrainingResult = field(repr=False)
    """What the training loop left: the learning curve, steps and time."""
    run_id: str
    """The MLflow run of the training."""
    tracking_uri: str | None = field(repr=False)
    """The store that has the run; None for the default one."""
    _version: PolicyVersion = field(repr=False)

    @property
    def spec(self) -> pb.PolicySpec:
        """What serving and clients need to know of the policy."""
        return self._version.spec

    def act(self, observation: Any) -> NDArray[Any]:
        """Greedy action for one observation (shape), or actions (n,) or (n, k) for a batch (n, *shape).

        Where the environment's space is a Dict or a Tuple, an observation may be a mapping or a tuple of its parts.

        Raises:
            InvalidOption: the observation is of another shape, or holds values that the policy's dtype cannot.
        """
        batch, is_one = batch_of(self.spec.observation, observation)
        actions = OnnxPolicy(self.path / MODEL_FILE).act(batch)
        return actions[0] if is_one else actions

    @naming_arguments()
    def register(self, tracking_uri: str | None = None) -> str:
        """Register the version in MLflow and return its number there.

        The first version of a policy becomes @champion; a later one waits for `polserve.promote`.

        Args:
            tracking_uri: the registry; None for the store that has the run.

        Raises:
            RegistryError: the registry does not answer or does not take it.
        """
        client = connect(tracking_uri or self.tracking_uri)
        run_id = self.run_id
        if tracking_uri not in (None, self.tracking_uri):  # another store, which does not know the run
            tags = {"policy": self.name, "env_id": self.evaluation.environment, "trained_in": self.run_id}
            with TrackedRun.start(client, EXPERIMENT, self.name, tags) as run:
                run.log_metrics(self.evaluation.metrics, self.training.step)
            run_id = run.run_id
        return PolicyRegistry(client).register(self._version, run_id)

    def __fspath__(self) -> str:
        """Path of the version's folder, so that `polserve.load` and `polserve.evaluate` take the version itself."""
        return str(self.path)

    def __str__(self) -> str:
        """Name, figures and folder in a line."""
        summary = self.evaluation.summary
        return f"{self.name}: {summary}, in {self.path}"


@naming_arguments(**RENAMED)
def train(  # noqa: PLR0913 - keywords of a function that notebooks call, as the command's options
    environment: str | EnvMaker,
    *,
    algo: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    module: str = "",
    env_kwargs: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    curves: str | Path | None = None,
    target_roas: float | None = None,
    target_marginal: float | None = None,
    lift: str | Path | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    init_from: str | Path | None = None,
    device: Device = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    tracking_uri: str | None = None,
    progress: bool = True,
) -> TrainedVersion:
    """Learn a policy, evaluate it on seeds of its own, and export one version of it.

    It does what `polserve train` does, but for the registration: that is `version.register()`. Arguments are checked
    before anything is learned. Nothing of this process is seeded or configured, so that several trainings may run in
    threads or processes at once, each with a folder of its own; only `module` has a lasting effect, which puts the
    working directory first among the places that Python imports from. Ctrl-C, or a notebook's button for it, saves a
    checkpoint and raises KeyboardInterrupt, and `resume` goes on from there. In another thread than the main one, and
    where the program answers Ctrl-C itself, nothing is saved then: `resume` goes on from the latest checkpoint
    (`checkpoint_every_s`).

    Args:
        environment: a preset, such as "cartpole"; or, together with `algo`, a Gymnasium id, or a callable that makes
            the environment, such as its class.
        algo: "dqn", "pqn", "ddpg", "td3" or "sac".
        steps: environment steps; training ends with the step of all environments that reaches them. None for the
            recipe's.
        seed: seed that everything random follows from.
        name: the policy's name; None for the preset's, or one after the environment.
        options: hyper-parameters by name, as `polserve train --list` prints them.
        module: Python module that registers the id.
        env_kwargs: keyword arguments of the environment.
        data: file of records that the environment is made from, such as an account's history, for a task that takes
            one.
        curves: file of response curves that the environment is made from, likewise.
        target_roas: return on ad spend to keep to, for a task that spends, in place of spending all.
        target_marginal: least return of a unit of money that is worth spending, likewise.
        lift: file of lift tests of the account's channels, beside its history.
        folder: folder of the checkpoint, the report and the version; None for runs/<name>-seed<seed>.
        resume: go on from the folder's checkpoint.
        init_from: folder of a run or a policy version whose weights to begin with.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of torch, 0 for all cores; None for the recipe's.
        tensorboard: write event files for TensorBoard into the folder, too.
        tracking_uri: the MLflow store that keeps the run; None for that of MLFLOW_TRACKING_URI, or ./mlflow.db.
        progress: print what happens, with a bar on a terminal and in a notebook.

    Returns:
        The version, with its evaluation and its folder.

    Raises:
        InvalidOption: an argument is none that can be taken.
        UnknownEnvironment: no environment of that id is registered.
        UnsupportedEnvironment: the algorithm cannot learn in the environment.
        FaultyEnvironment: the environment broke Gymnasium's rules.
        TrainingDiverged: no score was a number.
        CheckpointError: a checkpoint is missing, damaged or of another run, or cannot be written.
        RegistryError: the MLflow store does not answer.
        KeyboardInterrupt: somebody pressed Ctrl-C.
    """
    require_given(seed=seed, module=module, device=device, resume=resume, tensorboard=tensorboard, progress=progress)
    require_whole(seed=seed, steps=steps, threads=threads)
    require_kind("text", str, algo=algo, name=name, module=module, tracking_uri=tracking_uri)
    require_kind("True or False", bool, resume=resume, tensorboard=tensorboard, progress=progress)
    require_kind("a mapping by name", Mapping, options=options, env_kwargs=env_kwargs)
    require_kind("a path", (str, os.PathLike), data=data, curves=curves, lift=lift, folder=folder, init_from=init_from)
    require_kind("a number", (int, float), target_roas=target_roas, target_marginal=target_marginal)
    require_json(env_kwargs=env_kwargs)
    require(not resume or init_from is None, "init_from", "None to resume, since it begins a run", init_from)
    require(device in get_args(Device), "device", " or ".join(get_args(Device)), device)
    given = {**(options or {}), **({} if steps is None else {"steps": steps})}
    named = {"data": data, "curves": curves, "lift": lift}
    files = {name: Path(file) for name, file in named.items() if file is not None}
    request = TrainRequest(
        environment, algo, module, env_kwargs or {}, name, seed, as_settings(given), threads,
        **files, target_roas=target_roas, target_marginal=target_marginal,
    )  # fmt: skip
    recipe = request.recipe()
    console = _Console(highlight=False, soft_wrap=True, quiet=not progress)
    where = Path(folder) if folder is not None else request.default_folder(recipe.policy, is_resumed=resume)
    source = None if init_from is None else Path(init_from)
    facts = check(recipe, seed, Beginning(where, resume, source, tensorboard), tracking_uri)
    if request.is_configured:
        recipe, facts = request.configured(recipe, Stages(console))
    run_options = RunOptions(
        where,
        resume,
        is_registered=False,
        device=device,
        init_from=source,
        has_tensorboard=tensorboard,
        tracking_uri=tracking_uri,
    )
    with kept_threads(), run_folder.locked(where):
        run = begin(recipe, seed, run_options, console, facts)
        with resumable(where, "resume=True"), run.tracked, closing(run.trainee):
            with ctrl_c() as is_interrupted:
                learned = learn(run, console, is_interrupted)
            if isinstance(learned, Learned):
                publish(run, learned, Stages(console))
            else:
                run.tracked.interrupt()
        if not isinstance(learned, Learned):
            raise KeyboardInterrupt(f"stopped at step {learned.step:,}; saved in {where}: resume=True goes on")
        version_path = _free_path(where / VERSIONS / recipe.policy)
        with new_folder(version_path) as partial:
            learned.version.write(partial)
        if is_interrupted():  # too late to stop anything here, but the program may have more to do
            raise KeyboardInterrupt(f"the training was over already: its version is in {version_path}")
    return TrainedVersion(
        recipe.policy,
        version_path,
        learned.evaluation,
        learned.result,
        run.tracked.run_id,
        tracking_uri,
        learned.version,
    )


class _Console(Console):
    """A console on which notes and warnings name arguments where they name options."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as any console does."""
        told = (
            as_arguments(line, RENAMED) if isinstance(line, str) and line.startswith(ADVICE) else line
            for line in objects
        )
        super().print(*told, **options)


def _free_path(policy: Path) -> Path:
    """Path of the next version of a policy: one more than the highest there."""
    numbers = [int(path.name) for path in policy.glob("*") if path.name.isdigit()]
    return policy / str(max(numbers, default=0) + 1)
