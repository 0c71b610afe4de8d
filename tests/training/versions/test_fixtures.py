"""The committed versions of tests/fixtures are what the exporter makes today."""

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, numpy_helper

from tests.support.exports import FIXTURES
from tests.support.versions import make_version, read_fixture

RENEW = "run `python -m tests.support.exports`"


def nodes(graph: GraphProto) -> list[NodeProto]:
    return list(graph.node)


@pytest.mark.parametrize("name", FIXTURES)
def test_a_committed_version_is_what_the_exporter_makes(name: str) -> None:
    committed, made = read_fixture(name), FIXTURES[name]()
    for version in (committed, made):  # the last bit of a float32 differs between processors
        version.spec.parity.ClearField("largest_value_difference")
    assert committed.spec == made.spec, RENEW
    assert nodes(committed.model.graph) == nodes(made.model.graph), RENEW
    assert committed.model.opset_import == made.model.opset_import, RENEW
    for ours, theirs in zip(committed.model.graph.initializer, made.model.graph.initializer, strict=True):
        assert ours.name == theirs.name, RENEW
        assert numpy_helper.to_array(ours) == pytest.approx(numpy_helper.to_array(theirs), abs=1e-6), RENEW
    assert committed.golden.keys() == made.golden.keys()
    for key, array in committed.golden.items():
        assert array == pytest.approx(made.golden[key], rel=5e-7, abs=1e-5), RENEW
        assert array.dtype == made.golden[key].dtype


@pytest.mark.parametrize("seed", range(7))
def test_either_action_is_the_best_one_for_a_good_part_of_the_observations(seed: int) -> None:
    assert min(np.bincount(make_version(seed).golden["action"], minlength=2)) >= 20


def test_every_seed_and_name_makes_another_version() -> None:
    versions = [make_version(), make_version(1), make_version(2), make_version(name="other"), make_version(mean=1.0)]
    assert len({version.sha256 for version in versions}) == 5
    assert not np.array_equal(versions[0].golden["values"], versions[1].golden["values"])
    assert versions[4].spec.evaluation.mean == 1.0
