"""An imported policy is a version only where it acts as the original does."""

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import nn

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import ImportRefused
from polserve.training.imports.imported import ImportedPolicy
from polserve.training.imports.observations import drawn, met
from polserve.training.imports.places import find_place
from polserve.training.imports.proof import OBSERVATIONS, Proof, compare
from polserve.training.versions.export import export_graph
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.imported import cartpole_values, continuous, discrete

_RUNNABLE: dict[type[nn.Module], OnnxPolicy] = {}


def _runnable(kind: type[nn.Module], width: int) -> OnnxPolicy:
    """A module of the tests, exported once."""
    if kind not in _RUNNABLE:
        model = export_graph(kind(), np.zeros((2, width), np.float32))
        _RUNNABLE[kind] = OnnxPolicy(model.SerializeToString())
    return _RUNNABLE[kind]


def proof(policy: ImportedPolicy, space: Box | None = None) -> Proof:
    """The comparison of a policy with its original, on observations drawn from its space or another."""
    drawn_from = space or policy.observation_space
    assert isinstance(policy.graph, nn.Module)
    width = (drawn_from.shape or (0,))[0]
    return compare(policy, _runnable(type(policy.graph), width), drawn(drawn_from, OBSERVATIONS))


def test_a_policy_that_acts_alike_is_proven_on_a_thousand_observations() -> None:
    found = proof(discrete())
    assert len(found.observations) == 1_000
    assert found.largest_difference == 0
    assert not found.is_tie.any()


def test_a_discrete_action_that_differs_is_refused_with_the_observation() -> None:
    others = discrete(lambda observations: cartpole_values(observations).argmin(axis=1))
    with pytest.raises(ImportRefused, match="1000 of 1000 actions differ; at observation 0 expected"):
        proof(others)


def test_actions_that_are_equally_good_are_ties_and_no_difference() -> None:
    def with_ties(observations: NDArray[Any]) -> NDArray[Any]:
        values = cartpole_values(observations)
        is_near = np.abs(values[:, 0] - values[:, 1]) < 5e-5
        return np.asarray(np.where(is_near, values.argmin(axis=1), values.argmax(axis=1)))

    found = proof(discrete(with_ties), Box(np.float32(-1e-4), np.float32(1e-4), (4,)))
    assert 0 < found.is_tie.sum() < len(found.is_tie)


@pytest.mark.parametrize(("error", "difference"), [(0.0, 0.0), (2e-4, 5e-5)])
def test_a_continuous_difference_is_told_relative_to_the_range(error: float, difference: float) -> None:
    assert proof(continuous(error)).largest_difference == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize("error", [1e-3, np.nan])
def test_a_continuous_action_that_differs_is_refused(error: float) -> None:
    with pytest.raises(ImportRefused, match=r"acts otherwise than numpy: actions differ by .* of their range"):
        proof(continuous(error))


def test_an_action_without_bounds_is_compared_relative_to_the_largest() -> None:
    assert proof(continuous(1e-4, np.inf)).largest_difference == pytest.approx(5e-5, abs=1e-6)
    with pytest.raises(ImportRefused, match="actions differ by"):
        proof(continuous(1e-3, np.inf))


def test_bounds_that_are_only_the_largest_floats_bound_no_draw() -> None:
    limit = np.finfo(np.float32).max
    assert np.abs(drawn(Box(-limit, limit, (4,)), 1_000)).max() < 100


def test_observations_are_met_in_the_environment() -> None:
    seen = met(EnvironmentSpec("CartPole-v1"), lambda given: np.zeros(len(given), np.int64), 100)
    assert seen.shape == (100, 4)
    assert np.ptp(seen, axis=0).min() > 0.01


def test_an_environment_that_is_not_installed_leaves_a_place_without_facts() -> None:
    place = find_place(EnvironmentSpec("NotInstalled-v0"))
    assert place.facts is None
    assert "no environment 'NotInstalled-v0'" in place.missing
