"""The comparison of a candidate's spaces with those of the version that services answer with."""

import json
from pathlib import Path

import pytest
from onnx import ModelProto, helper

from polserve.protos.shared.alias_history import Move
from polserve.protos.shared.names import SPEC_KEY
from polserve.training.errors import PromotionRefused, RegistryError
from polserve.training.promotion.past import PolicyPast, check_spaces
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.versions.onnx_policy import OnnxPolicy, read_spec
from tests.support.versions import make_frames_version, make_version

CARTPOLE, FRAMES = (make().model.SerializeToString() for make in (make_version, make_frames_version))


class Graphs(PolicyRegistry):
    """A registry of these graphs, by the numbers of their versions."""

    def __init__(self, graphs: dict[str, bytes]) -> None:
        self.graphs = graphs
        self.fetched: list[str] = []

    def graph(self, policy: str, version: str, target: Path) -> tuple[Path, str]:  # noqa: ARG002 - as of its base
        self.fetched.append(version)
        path = target / "model.onnx"
        path.write_bytes(self.graphs[version])
        return path, ""


def past(*champions: str, champion: str | None = None) -> PolicyPast:
    moves = [Move(version, "", "") for version in champions]
    return PolicyPast("pole", champion, moves, {version: {} for version in "123"})


def stated(text: str) -> bytes:
    """A graph whose metadata hold this text as its spec."""
    model = ModelProto.FromString(CARTPOLE)
    helper.set_model_props(model, {SPEC_KEY: text})
    return model.SerializeToString()


@pytest.mark.parametrize("known", [past(), past("1", "2", champion="2")])
def test_nothing_is_fetched_where_there_is_nothing_to_compare(known: PolicyPast) -> None:
    registry, notes = Graphs({}), list[str]()
    check_spaces(registry, known, "2", notes.append)
    assert (registry.fetched, notes) == ([], [])


def test_other_spaces_than_the_champions_are_refused() -> None:
    with pytest.raises(PromotionRefused, match="services that answer with pole/1 refuse pole/2, unless they run with"):
        check_spaces(Graphs({"1": CARTPOLE, "2": FRAMES}), past("1", champion="1"), "2", print)


def test_without_a_champion_other_spaces_are_only_noted() -> None:
    notes: list[str] = []
    check_spaces(Graphs({"1": CARTPOLE, "2": FRAMES}), past("1"), "2", notes.append)
    assert [note[:48] for note in notes] == ["services that answer with pole/1 refuse pole/2, "]


UNKNOWN_DTYPE = json.dumps({"observation": {"dtype": 77, "shape": [4]}, "action": {"discrete": {"n": 2}}})


@pytest.mark.parametrize("candidate", ["1", "2"], ids=["its own spec", "the champion's spec"])
@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (stated("{"), "the graph's metadata 'polserve.spec' is no PolicySpec"),
        (stated(UNKNOWN_DTYPE), "polserve.spec: observation.dtype is 77, which is none of the known types"),
        (b"no graph", "the version holds no ONNX graph, or a damaged one"),
    ],
    ids=["no JSON", "unknown dtype", "no graph"],
)
def test_a_spec_that_cannot_be_read_is_noted_with_its_version(graph: bytes, message: str, candidate: str) -> None:
    notes: list[str] = []
    champion = "2" if candidate == "1" else "1"
    check_spaces(Graphs({"1": graph, "2": CARTPOLE}), past(champion, champion=champion), candidate, notes.append)
    (note,) = notes
    assert f"pole/{candidate} were not compared with those of pole/{champion}: pole/1: {message}" in note


@pytest.mark.parametrize("graph", [CARTPOLE, FRAMES])
def test_the_spec_is_read_as_onnx_runtime_reads_it(graph: bytes) -> None:
    assert read_spec(graph) == OnnxPolicy(graph).spec


def test_a_graph_with_a_spec_that_is_no_json_is_told_as_such() -> None:
    with pytest.raises(RegistryError, match=r"metadata 'polserve\.spec' is no PolicySpec"):
        assert OnnxPolicy(stated("{")).spec
