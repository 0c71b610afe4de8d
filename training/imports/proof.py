"""The proof that an imported policy acts as the original does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from polserve.protos.shared.golden import TOLERANCE
from polserve.protos.shared.names import ACTION, VALUES
from polserve.training.errors import ImportRefused
from polserve.training.imports.imported import ImportedPolicy
from polserve.training.imports.observations import ENVS, drawn, met
from polserve.training.imports.places import Place
from polserve.training.imports.remembering import StateRecorder
from polserve.training.learning.collector import ChooseActions
from polserve.training.versions.export import NO_STATES
from polserve.training.versions.onnx_policy import OnnxPolicy

OBSERVATIONS = 1_000
"""Observations on which every imported policy is compared with the original."""
BATCH = 250
"""Observations that are answered together in the comparison."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the comparison with the original showed."""

    observations: NDArray[Any]
    """(n, *shape) on which the two were compared."""
    is_tie: NDArray[np.bool_]
    """(n,) where the two chose differently among actions that are equally good."""
    largest_difference: float
    """Largest difference of a continuous action, relative to its range; 0 for discrete ones."""
    largest_action: float = 0.0
    """Largest absolute value of a continuous action; 0 for discrete ones."""
    states: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """States of a recurrent policy before the observations, (n, *shape) each."""


def prove(policy: ImportedPolicy, graph: OnnxPolicy, place: Place, n: int = OBSERVATIONS, envs: int = ENVS) -> Proof:
    """Compare the graph with the original on `n` observations, met in the environment where that is installed.

    At most `envs` environments exist at a time.

    Raises:
        ImportRefused: the two act differently.
    """
    if not policy.states:
        return compare(policy, graph, observations_for(policy, graph.act, place, n, envs))
    recorder = StateRecorder(graph)
    observations = observations_for(policy, recorder, place, n, envs)
    if place.facts is None:
        recorder.play(observations, ENVS)
    return compare(policy, graph, observations, recorder.states(len(observations)))


def observations_for(
    policy: ImportedPolicy, choose_actions: ChooseActions, place: Place, n: int, envs: int = ENVS
) -> NDArray[Any]:
    """Observations (n, *shape) that the policy meets, or where it has no environment here, drawn from its space."""
    if place.facts is None:
        return drawn(policy.emitted_space or policy.observation_space, n)
    return met(place.environment, choose_actions, n, envs)


def compare(
    policy: ImportedPolicy,
    graph: OnnxPolicy,
    observations: NDArray[Any],
    states: Mapping[str, NDArray[Any]] = NO_STATES,
) -> Proof:
    """Compare the graph with the original on the observations (n, *shape), in these states of a recurrent policy.

    Raises:
        ImportRefused: the two act differently.
    """
    parts = [slice(start, start + BATCH) for start in range(0, len(observations), BATCH)]
    batches = [_asked(observations, states, part) for part in parts]
    got = _joined([graph.run(*batch) for batch in batches])
    expected = np.concatenate([np.asarray(policy.original(*batch)) for batch in batches])
    if got[ACTION].shape != expected.shape:
        raise ImportRefused(
            f"{policy.source.file}: expected actions {expected.shape} as {policy.original_name} gives them, got "
            f"{got[ACTION].shape} from the graph"
        )
    preferred = None
    if policy.preferences is not None:
        preferred = np.concatenate([np.asarray(policy.preferences(*batch)) for batch in batches])
        _check_values(policy, got, preferred)
    if isinstance(policy.action_space, Box):
        largest = _check_continuous(policy, got[ACTION], expected)
        largest_action = float(np.abs(expected).max())
        return Proof(observations, np.zeros(len(observations), np.bool_), largest, largest_action, states)
    return Proof(observations, _check_discrete(policy, got[ACTION], expected, preferred), 0.0, states=states)


def _asked(observations: NDArray[Any], states: Mapping[str, NDArray[Any]], part: slice) -> tuple[Any, ...]:
    """Return what is asked of both about a part of the observations."""
    batch = observations[part]
    return (batch, {name: array[part] for name, array in states.items()}) if states else (batch,)


def _joined(answers: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _check_values(policy: ImportedPolicy, got: Mapping[str, NDArray[Any]], expected: NDArray[Any]) -> None:
    if VALUES not in got:
        return
    largest = float(np.abs(expected).max())
    difference = float(np.abs(got[VALUES].astype(np.float64) - expected).max()) / max(1.0, largest)
    if not difference <= TOLERANCE:  # NaN fails every comparison
        raise _refusal(policy, f"values differ by {difference:.3g} of the largest, allowed is {TOLERANCE:g}")


def _check_continuous(policy: ImportedPolicy, got: NDArray[Any], expected: NDArray[Any]) -> float:
    space = policy.action_space
    extent = space.high.astype(np.float64) - space.low  # type: ignore[attr-defined]
    extent = np.where(np.isfinite(extent), extent, max(1.0, float(np.abs(expected).max())))  # where nothing bounds it
    difference = float((np.abs(got.astype(np.float64) - expected) / extent).max())
    if not difference <= TOLERANCE:  # NaN fails every comparison
        raise _refusal(policy, f"actions differ by {difference:.3g} of their range, allowed is {TOLERANCE:g}")
    return difference


def _check_discrete(
    policy: ImportedPolicy, got: NDArray[Any], expected: NDArray[Any], preferred: NDArray[Any] | None
) -> NDArray[np.bool_]:
    """Where the two differ in a tie; raises ImportRefused where they differ in anything else."""
    is_other = (got != expected).reshape(len(got), -1).any(axis=1)
    is_tie = np.zeros(len(got), np.bool_)
    if preferred is not None and preferred.ndim == 2 and got.ndim == 1:  # noqa: PLR2004 - (n, actions)
        rows, start = np.arange(len(got)), int(getattr(policy.action_space, "start", 0))
        gap = np.abs(preferred[rows, got - start] - preferred[rows, expected.astype(np.int64) - start])
        is_tie = is_other & (gap <= TOLERANCE * max(1.0, float(np.abs(preferred).max())))
    if (is_different := is_other & ~is_tie).any():
        index = int(np.flatnonzero(is_different)[0])
        raise _refusal(
            policy,
            f"{int(is_different.sum())} of {len(got)} actions differ; at observation {index} expected "
            f"{expected[index]}, got {got[index]}",
        )
    return is_tie


def _refusal(policy: ImportedPolicy, how: str) -> ImportRefused:
    return ImportRefused(
        f"{policy.source.file}: the graph acts otherwise than {policy.original_name}: {how}; it is not imported. "
        "If the file is whole, what it holds was read wrongly: please report it with the file's tool and version"
    )
