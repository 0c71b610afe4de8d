"""A live version as a model of the Open Inference Protocol."""

from polserve.serving.catalog import CatalogEntry
from polserve.serving.handlers.oip.models import config_of, describe_model, index_of, metadata_of
from polserve.serving.handlers.oip.plain import as_plain
from polserve.serving.policy import Policy
from tests.support.versions import make_allocator_version, make_frames_version, make_version


def entry_of(*numbers: str) -> CatalogEntry:
    model = make_version().model.SerializeToString()
    return CatalogEntry("cartpole", {number: Policy.of_model("cartpole", number, model) for number in numbers}, {})


def test_metadata_names_every_live_version_and_every_tensor_with_its_batch() -> None:
    entry = entry_of("10", "9")
    assert as_plain(metadata_of(describe_model(entry, entry.versions["9"]))) == {
        "name": "cartpole",
        "versions": ["9", "10"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "observation", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "action", "datatype": "INT64", "shape": [-1]},
            {"name": "values", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }


def test_the_configuration_has_shapes_without_the_batch_and_numbers_that_json_keeps() -> None:
    entry = entry_of("9")
    config = as_plain(config_of(describe_model(entry, entry.versions["9"]), 256, 60.0))
    assert (config["max_batch_size"], config["version_policy"]) == (256, {"specific": {"versions": [9]}})
    assert config["input"] == [{"name": "observation", "data_type": "TYPE_FP32", "dims": [4], "optional": False}]
    assert config["output"][0] == {
        "name": "action",
        "data_type": "TYPE_INT64",
        "dims": [1],
        "reshape": {"shape": []},
    }
    assert config["model_transaction_policy"] == {"decoupled": False}
    assert "sequence_batching" not in config
    assert "dynamic_batching" in config


def test_frames_and_budgets_are_tensors_too() -> None:
    for version, datatype in ((make_frames_version(), "UINT8"), (make_allocator_version(), "FP32")):
        policy = Policy.of_model(version.spec.name, "1", version.model.SerializeToString())
        model = describe_model(CatalogEntry(policy.name, {"1": policy}, {}), policy)
        assert (model.inputs[0].datatype, model.inputs[0].shape) == (datatype, policy.observation.shape)
        answer = policy.act(policy.zeros(3), with_values=True)
        outputs = [answer.actions] if answer.values is None else [answer.actions, answer.values]
        assert [(3, *one.shape) for one in model.outputs] == [output.shape for output in outputs]


def test_the_index_lists_every_live_version() -> None:
    index = index_of({"cartpole": entry_of("10", "9")})
    assert [(one.name, one.version, one.state) for one in index.models] == [
        ("cartpole", "9", "READY"),
        ("cartpole", "10", "READY"),
    ]
