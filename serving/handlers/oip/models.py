"""What a live version is as a model of the Open Inference Protocol: its inputs and outputs, as data and as messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from polserve.protos.polserve.oip.v2 import inference_pb2 as pb
from polserve.protos.polserve.oip.v2 import model_config_pb2 as config_pb
from polserve.protos.shared.names import ACTION, MODEL_FILE, NEXT, OBSERVATION, VALUES
from polserve.serving.catalog import CatalogEntry, Live
from polserve.serving.handlers.oip.tensors import NAMES, Shape
from polserve.serving.policy import Policy

SERVER = "polserve"
PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"
EXTENSIONS = ("model_configuration", "statistics", "sequence", "sequence(string_id)")
"""Extensions of the protocol that are answered, by the names that clients look for."""
ANY = -1
"""An extent that is not fixed."""
EXPLORED = "explored"
"""Output that is there for a request with epsilon: BOOL (N), which actions were drawn at random."""
READY = "READY"


@dataclass(frozen=True, slots=True)
class TensorDescription:
    """An input or output of a model."""

    name: str
    datatype: str
    shape: Shape
    """Shape for one observation; the batch comes before it."""
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A live version as a model."""

    name: str
    version: str
    versions: tuple[str, ...]
    """Every live version of the policy, oldest first."""
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]


def describe_inputs(policy: Policy) -> tuple[TensorDescription, ...]:
    """Describe the inputs of a version: its observation, and the states of a recurrent policy."""
    contract = policy.observation
    observation = TensorDescription(OBSERVATION, NAMES[contract.dtype], contract.shape)
    memory = policy.memory
    if memory is None:
        return (observation,)
    states = zip(memory.names, memory.shapes, strict=True)
    return (observation, *(TensorDescription(name, "FP32", shape, is_optional=True) for name, shape in states))


def describe_outputs(policy: Policy) -> tuple[TensorDescription, ...]:
    """Describe the outputs of a version that are given unasked: its action, its values, and the next states."""
    datatype = "FP32" if policy.choices is None else "INT64"
    shape = policy.action_shape if policy.n_actions is None else ()
    outputs = [TensorDescription(ACTION, datatype, shape)]
    if policy.has_values:
        outputs.append(TensorDescription(VALUES, "FP32", (policy.n_actions or ANY,)))
    if policy.memory is not None:
        states = zip(policy.memory.next_names, policy.memory.shapes, strict=True)
        outputs.extend(TensorDescription(name, "FP32", shape) for name, shape in states)
    return tuple(outputs)


def live_versions(entry: CatalogEntry) -> tuple[str, ...]:
    """Return the numbers of the live versions of a policy, oldest first."""
    return tuple(sorted(entry.versions, key=lambda number: (len(number), number)))


def describe_model(entry: CatalogEntry, policy: Policy) -> ModelDescription:
    """Describe a version of a live policy as a model."""
    return ModelDescription(
        policy.name, policy.version, live_versions(entry), describe_inputs(policy), describe_outputs(policy)
    )


def server_metadata() -> pb.ServerMetadataResponse:
    """Return what the service says of itself."""
    return pb.ServerMetadataResponse(name=SERVER, version=version("polserve"), extensions=EXTENSIONS)


def metadata_of(model: ModelDescription) -> pb.ModelMetadataResponse:
    """Return the response of ModelMetadata."""
    tensor = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        name=model.name,
        versions=model.versions,
        platform=PLATFORM,
        inputs=[tensor(name=one.name, datatype=one.datatype, shape=(ANY, *one.shape)) for one in model.inputs],
        outputs=[tensor(name=one.name, datatype=one.datatype, shape=(ANY, *one.shape)) for one in model.outputs],
    )


def config_of(model: ModelDescription, max_batch: int, idle_s: float) -> config_pb.ModelConfig:
    """Return the configuration of a model, as Triton's clients read it.

    Args:
        model: the version.
        max_batch: observations that go to the model together.
        idle_s: seconds after which a sequence without requests ends.
    """
    specific = config_pb.ModelVersionPolicy.Specific(versions=[int(one) for one in model.versions if one.isdecimal()])
    config = config_pb.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=BACKEND,
        version_policy=config_pb.ModelVersionPolicy(specific=specific),
        max_batch_size=max_batch,
        input=[_config_input(one) for one in model.inputs],
        output=[_config_output(one) for one in model.outputs],
        default_model_filename=MODEL_FILE,
        model_transaction_policy=config_pb.ModelTransactionPolicy(decoupled=False),
    )
    states = [one for one in model.inputs if one.is_optional]
    if states:
        config.sequence_batching.CopyFrom(_sequences(states, idle_s))
    else:
        config.dynamic_batching.SetInParent()
    return config


def index_of(live: Live) -> pb.RepositoryIndexResponse:
    """Return the response of RepositoryIndex: every live version."""
    index = pb.RepositoryIndexResponse()
    for name in sorted(live):
        for number in live_versions(live[name]):
            index.models.add(name=name, version=number, state=READY)
    return index


def _dims(shape: Shape) -> tuple[Shape, config_pb.ModelTensorReshape | None]:
    """Extents without the batch, of which there must be one, and the shape where that is none."""
    return (shape, None) if shape else ((1,), config_pb.ModelTensorReshape())


def _config_input(one: TensorDescription) -> config_pb.ModelInput:
    dims, reshape = _dims(one.shape)
    kind = f"TYPE_{one.datatype}"
    return config_pb.ModelInput(name=one.name, data_type=kind, dims=dims, reshape=reshape, optional=one.is_optional)


def _config_output(one: TensorDescription) -> config_pb.ModelOutput:
    dims, reshape = _dims(one.shape)
    kind = f"TYPE_{one.datatype}"
    return config_pb.ModelOutput(name=one.name, data_type=kind, dims=dims, reshape=reshape)


def _sequences(states: Sequence[TensorDescription], idle_s: float) -> config_pb.ModelSequenceBatching:
    batching = config_pb.ModelSequenceBatching(max_sequence_idle_microseconds=int(idle_s * 1e6))
    batching.oldest.SetInParent()
    for state in states:
        kept = batching.state.add(
            input_name=state.name, output_name=NEXT + state.name, data_type=config_pb.TYPE_FP32, dims=state.shape
        )
        kept.initial_state.add(data_type=config_pb.TYPE_FP32, dims=state.shape, zero_data=True, name=f"{state.name}_0")
    return batching
