from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    FLOAT32: _ClassVar[DataType]
    FLOAT64: _ClassVar[DataType]
    UINT8: _ClassVar[DataType]
    INT32: _ClassVar[DataType]
    INT64: _ClassVar[DataType]
    BOOL: _ClassVar[DataType]

class SlotEnd(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLOT_END_UNSPECIFIED: _ClassVar[SlotEnd]
    SLOT_END_TERMINATED: _ClassVar[SlotEnd]
    SLOT_END_TRUNCATED: _ClassVar[SlotEnd]

class PartKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PART_KIND_UNSPECIFIED: _ClassVar[PartKind]
    PART_KIND_BOX: _ClassVar[PartKind]
    PART_KIND_DISCRETE: _ClassVar[PartKind]
    PART_KIND_MULTI_DISCRETE: _ClassVar[PartKind]
    PART_KIND_MULTI_BINARY: _ClassVar[PartKind]
DATA_TYPE_UNSPECIFIED: DataType
FLOAT32: DataType
FLOAT64: DataType
UINT8: DataType
INT32: DataType
INT64: DataType
BOOL: DataType
SLOT_END_UNSPECIFIED: SlotEnd
SLOT_END_TERMINATED: SlotEnd
SLOT_END_TRUNCATED: SlotEnd
PART_KIND_UNSPECIFIED: PartKind
PART_KIND_BOX: PartKind
PART_KIND_DISCRETE: PartKind
PART_KIND_MULTI_DISCRETE: PartKind
PART_KIND_MULTI_BINARY: PartKind

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "data", "values")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class ActRequest(_message.Message):
    __slots__ = ("policy", "version", "observation", "with_values", "epsilon", "state")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    WITH_VALUES_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    policy: str
    version: str
    observation: Tensor
    with_values: bool
    epsilon: float
    state: bytes
    def __init__(self, policy: _Optional[str] = ..., version: _Optional[str] = ..., observation: _Optional[_Union[Tensor, _Mapping]] = ..., with_values: _Optional[bool] = ..., epsilon: _Optional[float] = ..., state: _Optional[bytes] = ...) -> None: ...

class ActResponse(_message.Message):
    __slots__ = ("policy", "version", "action", "values", "explored", "state")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    EXPLORED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    policy: str
    version: str
    action: Tensor
    values: Tensor
    explored: _containers.RepeatedScalarFieldContainer[bool]
    state: bytes
    def __init__(self, policy: _Optional[str] = ..., version: _Optional[str] = ..., action: _Optional[_Union[Tensor, _Mapping]] = ..., values: _Optional[_Union[Tensor, _Mapping]] = ..., explored: _Optional[_Iterable[bool]] = ..., state: _Optional[bytes] = ...) -> None: ...

class EpisodeRequest(_message.Message):
    __slots__ = ("start", "step", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: EpisodeStart
    step: EpisodeStep
    end: EpisodeEnd
    def __init__(self, start: _Optional[_Union[EpisodeStart, _Mapping]] = ..., step: _Optional[_Union[EpisodeStep, _Mapping]] = ..., end: _Optional[_Union[EpisodeEnd, _Mapping]] = ...) -> None: ...

class EpisodeStart(_message.Message):
    __slots__ = ("policy", "version", "epsilon", "with_values", "observation", "slots")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    WITH_VALUES_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    version: str
    epsilon: float
    with_values: bool
    observation: Tensor
    slots: int
    def __init__(self, policy: _Optional[str] = ..., version: _Optional[str] = ..., epsilon: _Optional[float] = ..., with_values: _Optional[bool] = ..., observation: _Optional[_Union[Tensor, _Mapping]] = ..., slots: _Optional[int] = ...) -> None: ...

class EpisodeStep(_message.Message):
    __slots__ = ("observation", "reward", "rewards", "ended")
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    observation: Tensor
    reward: float
    rewards: _containers.RepeatedScalarFieldContainer[float]
    ended: _containers.RepeatedScalarFieldContainer[SlotEnd]
    def __init__(self, observation: _Optional[_Union[Tensor, _Mapping]] = ..., reward: _Optional[float] = ..., rewards: _Optional[_Iterable[float]] = ..., ended: _Optional[_Iterable[_Union[SlotEnd, str]]] = ...) -> None: ...

class EpisodeEnd(_message.Message):
    __slots__ = ("reward", "truncated", "rewards")
    REWARD_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    reward: float
    truncated: bool
    rewards: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, reward: _Optional[float] = ..., truncated: _Optional[bool] = ..., rewards: _Optional[_Iterable[float]] = ...) -> None: ...

class EpisodeResponse(_message.Message):
    __slots__ = ("policy", "version", "step", "action", "values", "explored", "episode_return", "explored_slots", "ended")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    EXPLORED_FIELD_NUMBER: _ClassVar[int]
    EPISODE_RETURN_FIELD_NUMBER: _ClassVar[int]
    EXPLORED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    policy: str
    version: str
    step: int
    action: Tensor
    values: Tensor
    explored: bool
    episode_return: float
    explored_slots: _containers.RepeatedScalarFieldContainer[bool]
    ended: _containers.RepeatedCompositeFieldContainer[SlotReturn]
    def __init__(self, policy: _Optional[str] = ..., version: _Optional[str] = ..., step: _Optional[int] = ..., action: _Optional[_Union[Tensor, _Mapping]] = ..., values: _Optional[_Union[Tensor, _Mapping]] = ..., explored: _Optional[bool] = ..., episode_return: _Optional[float] = ..., explored_slots: _Optional[_Iterable[bool]] = ..., ended: _Optional[_Iterable[_Union[SlotReturn, _Mapping]]] = ...) -> None: ...

class SlotReturn(_message.Message):
    __slots__ = ("slot", "steps", "episode_return")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    EPISODE_RETURN_FIELD_NUMBER: _ClassVar[int]
    slot: int
    steps: int
    episode_return: float
    def __init__(self, slot: _Optional[int] = ..., steps: _Optional[int] = ..., episode_return: _Optional[float] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPoliciesResponse(_message.Message):
    __slots__ = ("policies",)
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[LivePolicy]
    def __init__(self, policies: _Optional[_Iterable[_Union[LivePolicy, _Mapping]]] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: str
    def __init__(self, policy: _Optional[str] = ...) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: LivePolicy
    def __init__(self, policy: _Optional[_Union[LivePolicy, _Mapping]] = ...) -> None: ...

class LivePolicy(_message.Message):
    __slots__ = ("name", "aliases", "versions", "default_version")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    aliases: _containers.ScalarMap[str, str]
    versions: _containers.RepeatedCompositeFieldContainer[LiveVersion]
    default_version: str
    def __init__(self, name: _Optional[str] = ..., aliases: _Optional[_Mapping[str, str]] = ..., versions: _Optional[_Iterable[_Union[LiveVersion, _Mapping]]] = ..., default_version: _Optional[str] = ...) -> None: ...

class LiveVersion(_message.Message):
    __slots__ = ("version", "spec", "sha256")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    version: str
    spec: PolicySpec
    sha256: str
    def __init__(self, version: _Optional[str] = ..., spec: _Optional[_Union[PolicySpec, _Mapping]] = ..., sha256: _Optional[str] = ...) -> None: ...

class PolicySpec(_message.Message):
    __slots__ = ("schema_version", "name", "algorithm", "environment", "observation", "action", "allocation", "provenance", "evaluation", "parity", "states")
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    schema_version: int
    name: str
    algorithm: str
    environment: Environment
    observation: ObservationSpec
    action: ActionSpec
    allocation: AllocationSpec
    provenance: Provenance
    evaluation: Evaluation
    parity: Parity
    states: _containers.RepeatedCompositeFieldContainer[StateSpec]
    def __init__(self, schema_version: _Optional[int] = ..., name: _Optional[str] = ..., algorithm: _Optional[str] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., observation: _Optional[_Union[ObservationSpec, _Mapping]] = ..., action: _Optional[_Union[ActionSpec, _Mapping]] = ..., allocation: _Optional[_Union[AllocationSpec, _Mapping]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., evaluation: _Optional[_Union[Evaluation, _Mapping]] = ..., parity: _Optional[_Union[Parity, _Mapping]] = ..., states: _Optional[_Iterable[_Union[StateSpec, _Mapping]]] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("id", "kwargs_json", "module", "graph_wrappers", "client_wrappers", "client_action_wrappers")
    ID_FIELD_NUMBER: _ClassVar[int]
    KWARGS_JSON_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    GRAPH_WRAPPERS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_WRAPPERS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ACTION_WRAPPERS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kwargs_json: str
    module: str
    graph_wrappers: _containers.RepeatedScalarFieldContainer[str]
    client_wrappers: _containers.RepeatedScalarFieldContainer[str]
    client_action_wrappers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., kwargs_json: _Optional[str] = ..., module: _Optional[str] = ..., graph_wrappers: _Optional[_Iterable[str]] = ..., client_wrappers: _Optional[_Iterable[str]] = ..., client_action_wrappers: _Optional[_Iterable[str]] = ...) -> None: ...

class ObservationSpec(_message.Message):
    __slots__ = ("dtype", "shape", "frames", "low", "high", "is_bounded", "components", "parts")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    IS_BOUNDED_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    frames: int
    low: _containers.RepeatedScalarFieldContainer[float]
    high: _containers.RepeatedScalarFieldContainer[float]
    is_bounded: bool
    components: _containers.RepeatedCompositeFieldContainer[Component]
    parts: _containers.RepeatedCompositeFieldContainer[ObservationPart]
    def __init__(self, dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., frames: _Optional[int] = ..., low: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ..., is_bounded: _Optional[bool] = ..., components: _Optional[_Iterable[_Union[Component, _Mapping]]] = ..., parts: _Optional[_Iterable[_Union[ObservationPart, _Mapping]]] = ...) -> None: ...

class ObservationPart(_message.Message):
    __slots__ = ("path", "kind", "offset", "shape", "dtype", "n", "start")
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    path: _containers.RepeatedScalarFieldContainer[str]
    kind: PartKind
    offset: int
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: DataType
    n: _containers.RepeatedScalarFieldContainer[int]
    start: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, path: _Optional[_Iterable[str]] = ..., kind: _Optional[_Union[PartKind, str]] = ..., offset: _Optional[int] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[DataType, str]] = ..., n: _Optional[_Iterable[int]] = ..., start: _Optional[_Iterable[int]] = ...) -> None: ...

class StateSpec(_message.Message):
    __slots__ = ("name", "dtype", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Component(_message.Message):
    __slots__ = ("name", "unit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ...) -> None: ...

class ActionSpec(_message.Message):
    __slots__ = ("discrete", "continuous", "multi_discrete")
    DISCRETE_FIELD_NUMBER: _ClassVar[int]
    CONTINUOUS_FIELD_NUMBER: _ClassVar[int]
    MULTI_DISCRETE_FIELD_NUMBER: _ClassVar[int]
    discrete: DiscreteActions
    continuous: ContinuousActions
    multi_discrete: MultiDiscreteActions
    def __init__(self, discrete: _Optional[_Union[DiscreteActions, _Mapping]] = ..., continuous: _Optional[_Union[ContinuousActions, _Mapping]] = ..., multi_discrete: _Optional[_Union[MultiDiscreteActions, _Mapping]] = ...) -> None: ...

class DiscreteActions(_message.Message):
    __slots__ = ("n", "labels", "start")
    N_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    n: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    start: int
    def __init__(self, n: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ..., start: _Optional[int] = ...) -> None: ...

class MultiDiscreteActions(_message.Message):
    __slots__ = ("n", "start", "shape", "components", "is_binary")
    N_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    IS_BINARY_FIELD_NUMBER: _ClassVar[int]
    n: _containers.RepeatedScalarFieldContainer[int]
    start: _containers.RepeatedScalarFieldContainer[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    components: _containers.RepeatedCompositeFieldContainer[Component]
    is_binary: bool
    def __init__(self, n: _Optional[_Iterable[int]] = ..., start: _Optional[_Iterable[int]] = ..., shape: _Optional[_Iterable[int]] = ..., components: _Optional[_Iterable[_Union[Component, _Mapping]]] = ..., is_binary: _Optional[bool] = ...) -> None: ...

class ContinuousActions(_message.Message):
    __slots__ = ("low", "high", "components", "shape")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    low: _containers.RepeatedScalarFieldContainer[float]
    high: _containers.RepeatedScalarFieldContainer[float]
    components: _containers.RepeatedCompositeFieldContainer[Component]
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, low: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ..., components: _Optional[_Iterable[_Union[Component, _Mapping]]] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class AllocationSpec(_message.Message):
    __slots__ = ("channels", "currency", "history_days", "max_horizon_days", "components")
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    HISTORY_DAYS_FIELD_NUMBER: _ClassVar[int]
    MAX_HORIZON_DAYS_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.RepeatedScalarFieldContainer[str]
    currency: str
    history_days: int
    max_horizon_days: int
    components: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, channels: _Optional[_Iterable[str]] = ..., currency: _Optional[str] = ..., history_days: _Optional[int] = ..., max_horizon_days: _Optional[int] = ..., components: _Optional[_Iterable[str]] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("run_id", "git_commit", "seed", "environment_steps", "package_version", "settings_json", "training_hours", "machine", "initial_weights", "selection_steps", "environment_git_commit", "source")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    GIT_COMMIT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_STEPS_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_JSON_FIELD_NUMBER: _ClassVar[int]
    TRAINING_HOURS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    INITIAL_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SELECTION_STEPS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_GIT_COMMIT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    git_commit: str
    seed: int
    environment_steps: int
    package_version: str
    settings_json: str
    training_hours: float
    machine: str
    initial_weights: str
    selection_steps: int
    environment_git_commit: str
    source: Source
    def __init__(self, run_id: _Optional[str] = ..., git_commit: _Optional[str] = ..., seed: _Optional[int] = ..., environment_steps: _Optional[int] = ..., package_version: _Optional[str] = ..., settings_json: _Optional[str] = ..., training_hours: _Optional[float] = ..., machine: _Optional[str] = ..., initial_weights: _Optional[str] = ..., selection_steps: _Optional[int] = ..., environment_git_commit: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("tool", "file", "sha256", "algorithm")
    TOOL_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    tool: str
    file: str
    sha256: str
    algorithm: str
    def __init__(self, tool: _Optional[str] = ..., file: _Optional[str] = ..., sha256: _Optional[str] = ..., algorithm: _Optional[str] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("episodes", "mean", "iqm", "standard_deviation", "interval_low", "interval_high", "confidence", "random_mean", "median", "first_seed")
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    IQM_FIELD_NUMBER: _ClassVar[int]
    STANDARD_DEVIATION_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_LOW_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_HIGH_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_MEAN_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEED_FIELD_NUMBER: _ClassVar[int]
    episodes: int
    mean: float
    iqm: float
    standard_deviation: float
    interval_low: float
    interval_high: float
    confidence: float
    random_mean: float
    median: float
    first_seed: int
    def __init__(self, episodes: _Optional[int] = ..., mean: _Optional[float] = ..., iqm: _Optional[float] = ..., standard_deviation: _Optional[float] = ..., interval_low: _Optional[float] = ..., interval_high: _Optional[float] = ..., confidence: _Optional[float] = ..., random_mean: _Optional[float] = ..., median: _Optional[float] = ..., first_seed: _Optional[int] = ...) -> None: ...

class Parity(_message.Message):
    __slots__ = ("observations", "largest_value_difference", "compared_with", "compared_observations", "largest_relative_difference", "ties")
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_VALUE_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    COMPARED_WITH_FIELD_NUMBER: _ClassVar[int]
    COMPARED_OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_RELATIVE_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    TIES_FIELD_NUMBER: _ClassVar[int]
    observations: int
    largest_value_difference: float
    compared_with: str
    compared_observations: int
    largest_relative_difference: float
    ties: int
    def __init__(self, observations: _Optional[int] = ..., largest_value_difference: _Optional[float] = ..., compared_with: _Optional[str] = ..., compared_observations: _Optional[int] = ..., largest_relative_difference: _Optional[float] = ..., ties: _Optional[int] = ...) -> None: ...
