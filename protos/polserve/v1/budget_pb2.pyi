from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Bound(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BOUND_UNSPECIFIED: _ClassVar[Bound]
    BOUND_NONE: _ClassVar[Bound]
    BOUND_FLOOR: _ClassVar[Bound]
    BOUND_CAP: _ClassVar[Bound]
    BOUND_BUDGET: _ClassVar[Bound]
BOUND_UNSPECIFIED: Bound
BOUND_NONE: Bound
BOUND_FLOOR: Bound
BOUND_CAP: Bound
BOUND_BUDGET: Bound

class AllocateRequest(_message.Message):
    __slots__ = ("policy", "version", "day", "horizon_days", "total_micros", "remaining_micros", "demand", "weekday", "channels")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    HORIZON_DAYS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MICROS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MICROS_FIELD_NUMBER: _ClassVar[int]
    DEMAND_FIELD_NUMBER: _ClassVar[int]
    WEEKDAY_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    version: str
    day: int
    horizon_days: int
    total_micros: int
    remaining_micros: int
    demand: float
    weekday: int
    channels: _containers.RepeatedCompositeFieldContainer[ChannelState]
    def __init__(self, policy: _Optional[str] = ..., version: _Optional[str] = ..., day: _Optional[int] = ..., horizon_days: _Optional[int] = ..., total_micros: _Optional[int] = ..., remaining_micros: _Optional[int] = ..., demand: _Optional[float] = ..., weekday: _Optional[int] = ..., channels: _Optional[_Iterable[_Union[ChannelState, _Mapping]]] = ...) -> None: ...

class ChannelState(_message.Message):
    __slots__ = ("name", "spent_micros", "floor_micros", "cap_micros")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPENT_MICROS_FIELD_NUMBER: _ClassVar[int]
    FLOOR_MICROS_FIELD_NUMBER: _ClassVar[int]
    CAP_MICROS_FIELD_NUMBER: _ClassVar[int]
    name: str
    spent_micros: _containers.RepeatedScalarFieldContainer[int]
    floor_micros: int
    cap_micros: int
    def __init__(self, name: _Optional[str] = ..., spent_micros: _Optional[_Iterable[int]] = ..., floor_micros: _Optional[int] = ..., cap_micros: _Optional[int] = ...) -> None: ...

class AllocateResponse(_message.Message):
    __slots__ = ("policy", "version", "allocations", "unspent_micros")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALLOCATIONS_FIELD_NUMBER: _ClassVar[int]
    UNSPENT_MICROS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    version: str
    allocations: _containers.RepeatedCompositeFieldContainer[Allocation]
    unspent_micros: int
    def __init__(self, policy: _Optional[str] = ..., version: _Optional[str] = ..., allocations: _Optional[_Iterable[_Union[Allocation, _Mapping]]] = ..., unspent_micros: _Optional[int] = ...) -> None: ...

class Allocation(_message.Message):
    __slots__ = ("name", "spend_micros", "equal_split_micros", "bound")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEND_MICROS_FIELD_NUMBER: _ClassVar[int]
    EQUAL_SPLIT_MICROS_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    name: str
    spend_micros: int
    equal_split_micros: int
    bound: Bound
    def __init__(self, name: _Optional[str] = ..., spend_micros: _Optional[int] = ..., equal_split_micros: _Optional[int] = ..., bound: _Optional[_Union[Bound, str]] = ...) -> None: ...
