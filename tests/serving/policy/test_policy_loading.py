"""Only the file that was registered is loaded, and only as what its spec says."""

import sys
from pathlib import Path

import onnx
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import MODEL_FILE
from polserve.serving.errors import RolloutRefused
from polserve.serving.policy import Policy
from polserve.serving.versions import VersionRef
from polserve.training.versions.version import PolicyVersion
from tests.support.versions import make_version, with_spec


def ref(version: PolicyVersion, folder: Path, number: str = "1", sha256: str | None = None) -> VersionRef:
    return VersionRef("cartpole", number, version.write(folder / number), sha256 or version.sha256)


def changed_spec(**changes: object) -> pb.PolicySpec:
    spec = pb.PolicySpec()
    spec.CopyFrom(make_version().spec)
    spec.MergeFrom(pb.PolicySpec(**changes))  # type: ignore[arg-type]
    return spec


def test_a_good_version_is_loaded_with_its_spec(tmp_path: Path) -> None:
    version = make_version()
    policy = Policy.load_registered(ref(version, tmp_path))
    assert policy.spec == version.spec
    assert policy.sha256 == version.sha256
    answer = policy.act(version.golden["observation"], with_values=True)
    assert (answer.actions == version.golden["action"]).all()


def damage_model(folder: Path, content: bytes) -> None:
    (folder / MODEL_FILE).write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    reference = ref(make_version(), tmp_path)
    damage_model(reference.folder, content)
    with pytest.raises(RolloutRefused, match=r"model.onnx"):
        Policy.load_registered(reference)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    reference = ref(make_version(), tmp_path)
    model = (reference.folder / MODEL_FILE).read_bytes()
    damage_model(reference.folder, model[: len(model) // 2])
    with pytest.raises(RolloutRefused, match=r"sha256 of model\.onnx: expected \w+, got"):
        Policy.load_registered(reference)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    reference = ref(make_version(), tmp_path)
    (reference.folder / MODEL_FILE).unlink()
    with pytest.raises(RolloutRefused, match="cannot be read: No such file"):
        Policy.load_registered(reference)


def test_a_model_with_another_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RolloutRefused, match=r"sha256 of model\.onnx: expected abc, got"):
        Policy.load_registered(ref(make_version(), tmp_path, sha256="abc"))


def test_a_version_that_was_registered_without_a_checksum_is_refused(tmp_path: Path) -> None:
    version = make_version()
    reference = VersionRef("cartpole", "1", version.write(tmp_path), "")
    with pytest.raises(RolloutRefused, match=r"expected a tag polserve\.sha256"):
        Policy.load_registered(reference)


def test_a_model_without_a_spec_is_refused(tmp_path: Path) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(make_version().model)
    del model.metadata_props[:]
    bare = PolicyVersion(model, pb.PolicySpec(), make_version().golden)
    with pytest.raises(RolloutRefused, match=r"has no metadata 'polserve\.spec'; make .* with `polserve import onnx`"):
        Policy.load_registered(ref(bare, tmp_path))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (changed_spec(schema_version=99), "has schema version 99, this server knows 1"),
        (
            changed_spec(observation=pb.ObservationSpec(shape=[7])),
            r"the graph takes tensor\(float\) \(4,\), its spec says",
        ),
        (changed_spec(observation=pb.ObservationSpec(dtype=pb.UINT8)), "its spec says"),
        (changed_spec(observation=pb.ObservationSpec(low=[0.0])), "observation.low has 5 values, expected 1 or 4"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(tmp_path: Path, spec: pb.PolicySpec, message: str) -> None:
    with pytest.raises(RolloutRefused, match=message):
        Policy.load_registered(ref(with_spec(make_version(), spec), tmp_path))


def test_the_bytes_of_a_loaded_graph_are_not_kept() -> None:
    model = make_version().model.SerializeToString()
    held = sys.getrefcount(model)
    policy = Policy.of_model("cartpole", "1", model)
    policy.act(policy.zeros(1))
    assert sys.getrefcount(model) == held
