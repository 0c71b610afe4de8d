"""Policy versions in this process: ONNX Runtime answers, after the checks that the service makes."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import CHAMPION, MODEL_FILE
from polserve.protos.tensors import to_array
from polserve.serving.client import (
    Action,
    ActionSpace,
    ClientError,
    EvaluationSummary,
    InvalidArgument,
    ObservationSpace,
)
from polserve.serving.client.arguments import flag, name_and_version, state_of
from polserve.serving.client.errors import described
from polserve.serving.client.observations import Observation, Observations, batch_of, observation_tensor
from polserve.serving.client.parts import are_in_parts, as_list, lay_out_batch, lay_out_one
from polserve.serving.errors import InvalidRequest, RolloutRefused
from polserve.serving.policy import Policy
from polserve.serving.settings.settings import BUNDLED_POLICIES
from polserve.serving.validation.golden_replay import check_golden_file

T = TypeVar("T")


def load(version: str | os.PathLike[str]) -> "LoadedPolicy":
    """Load a policy version into this process, to be asked without a service.

    The file is checked as the service checks it before a version may answer: the graph, its spec, and the answers that
    the trainer's own network gave.

    Args:
        version: a version's folder, such as "policies/cartpole/1", or its model.onnx; the folder of a policy, for its
            highest version; or where there is no such folder, a bundled policy, such as "cartpole" or "cartpole/1".

    Raises:
        InvalidArgument: there is no such version, or it is none that may answer.
    """
    folder = _folder_of(version)
    try:
        policy = Policy.load(folder.parent.name, folder.name, folder)
        check_golden_file(policy, folder)
    except RolloutRefused as refusal:
        raise InvalidArgument("version", "a policy version that may answer", f"{folder}: {refusal}") from refusal
    return LoadedPolicy(policy)


@dataclass(frozen=True, slots=True, repr=False)
class LoadedPolicy:
    """A policy version in this process; may be asked from several threads at once."""

    _policy: Policy

    @property
    def name(self) -> str:
        """Name of the policy."""
        return self._policy.spec.name or self._policy.name

    @property
    def version(self) -> str:
        """Name of the version's folder, which is its number."""
        return self._policy.version

    @property
    def spec(self) -> pb.PolicySpec:
        """The whole spec, as a protobuf message."""
        return self._policy.spec

    @property
    def observation(self) -> ObservationSpace:
        """What one observation is, the stack of frames included."""
        return ObservationSpace.of(self.spec.observation)

    @property
    def action(self) -> ActionSpace:
        """What an action is."""
        return ActionSpace.of(self.spec.action)

    @property
    def evaluation(self) -> EvaluationSummary | None:
        """Returns in evaluation; None where nobody evaluated it."""
        return EvaluationSummary.of(self.spec.evaluation) if self.spec.evaluation.episodes else None

    def act(self, observation: Observation, *, with_values: bool = False, state: bytes | None = None) -> Action:
        """Compute the action for one observation, or for each of a batch, as `PolicyClient.act`.

        Args:
            observation: (*shape) or (n, *shape), with the whole stack where the policy stacks frames; where the
                environment's space is a Dict or a Tuple, a mapping or a tuple of its parts.
            with_values: whether to compute the Q-values too.
            state: the `state` of the answer before, from a recurrent policy; None at the start of an episode.

        Raises:
            InvalidArgument: an argument is not what it must be.
            ClientError: the policy does not take this observation, as the service would say.
        """
        laid_out = lay_out_one(self._policy.observation.layout, observation)
        return self._answer(to_array(observation_tensor(laid_out)), flag("with_values", with_values), state)

    def act_batch(self, observations: Observations, *, with_values: bool = False, state: bytes | None = None) -> Action:
        """Compute the actions for n observations, as `PolicyClient.act_batch`; raises as `act`."""
        given = as_list(observations)
        laid_out = lay_out_batch(self._policy.observation.layout, given) if are_in_parts(given) else given
        tensor = observation_tensor(batch_of(laid_out), "observations")
        return self._answer(to_array(tensor), flag("with_values", with_values), state)

    def _answer(self, given: NDArray[Any], with_values: bool, state: bytes | None) -> Action:  # noqa: FBT001 - checked
        batch = _as_the_service_says(
            lambda: self._policy.remembering(self._policy.observation.check(given), state_of(state))
        )
        answer = self._policy.act(batch, with_values=with_values)
        actions, values, token = answer.actions, answer.values, self._policy.token(answer) or None
        if given.ndim == len(self._policy.observation.shape):
            actions, values = np.asarray(actions[0]), None if values is None else values[0]
        return Action(action=actions, policy=self.name, version=self.version, values=values, explored=None, state=token)

    def __repr__(self) -> str:
        earned = str(self.evaluation or "not evaluated")
        return f"<policy {self.name}/{self.version}: {self.observation} -> {self.action}, {earned}>"


def _as_the_service_says(check: Callable[[], T]) -> T:
    """Return the result of a check, whose refusal is raised as a client of the service gets it."""
    try:
        return check()
    except InvalidRequest as refusal:
        raise ClientError(grpc.StatusCode.INVALID_ARGUMENT, str(refusal)) from refusal


def _folder_of(version: str | os.PathLike[str]) -> Path:
    """Return the folder of a version that a person names; raises InvalidArgument."""
    if not isinstance(version, (str, os.PathLike)) or not os.fspath(version):
        raise _unknown(described(version))
    path = Path(version).expanduser()
    if path.name == MODEL_FILE and path.is_file():
        return path.parent.absolute()
    if path.is_dir():
        return (_version_in(path) or _refuse(f"{path}, which holds no {MODEL_FILE}")).absolute()
    if not isinstance(version, str):
        raise _unknown(f"{path}, which does not exist")
    return _bundled(version)


def _version_in(folder: Path) -> Path | None:
    """Return the folder itself where it is a version's, else its highest version, if it has one."""
    if (folder / MODEL_FILE).is_file():
        return folder
    versions = [path for path in folder.iterdir() if path.name.isdecimal() and (path / MODEL_FILE).is_file()]
    return max(versions, key=lambda path: int(path.name), default=None)


def _bundled(version: str) -> Path:
    """Return the folder of a bundled version; raises InvalidArgument."""
    try:
        name, number = name_and_version(version, "")
    except InvalidArgument as error:
        raise _unknown(f"{described(version)}, where nothing is") from error
    folder = BUNDLED_POLICIES / name
    if number in {"", f"@{CHAMPION}"}:
        found = _version_in(folder) if folder.is_dir() else None
    else:
        found = folder / number if (folder / number / MODEL_FILE).is_file() else None
    return found or _refuse(f"{described(version)}, which is neither")


def _refuse(got: str) -> Path:
    raise _unknown(got)


def _unknown(got: str) -> InvalidArgument:
    names = ", ".join(sorted(path.name for path in BUNDLED_POLICIES.iterdir() if path.is_dir()))
    return InvalidArgument("version", f"a folder with {MODEL_FILE}, or a bundled policy ({names})", got)
