from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Cost(_message.Message):
    __slots__ = ["micros", "unit"]
    MICROS_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    micros: int
    unit: str
    def __init__(self, unit: _Optional[str] = ..., micros: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ["message", "reason"]
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    DATASET_INVALID: Failure.Reason
    DATASET_UNREACHABLE: Failure.Reason
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NOT_SUBMITTED: Failure.Reason
    OUT_OF_MEMORY: Failure.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    REASON_UNSPECIFIED: Failure.Reason
    UPSTREAM_INTERNAL: Failure.Reason
    message: str
    reason: Failure.Reason
    def __init__(self, reason: _Optional[_Union[Failure.Reason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class FineTune(_message.Message):
    __slots__ = ["base_model", "billed_cost", "create_time", "create_time_estimated", "creator", "data_source_uri", "details_pending", "display_name", "end_time", "estimated_cost", "etag", "failure", "inference_uri", "instance_prompt", "labels", "machine_type", "model_information", "name", "observe_time", "parameters", "revision", "slug", "source_type", "state", "theme", "train_type", "training_start_time", "transitions", "trigger_word", "unpriced", "update_time", "upstream_id", "upstream_status", "visibility", "weights_uri"]
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class Visibility(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class LabelsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AVAILABLE: FineTune.State
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    BILLED_COST_FIELD_NUMBER: _ClassVar[int]
    CANCELLED: FineTune.State
    CREATE_TIME_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    DATA_SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    DEPLOYING: FineTune.State
    DETAILS_PENDING_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_COST_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    FAILED: FineTune.State
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_URI_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LOST: FineTune.State
    MACHINE_TYPE_FIELD_NUMBER: _ClassVar[int]
    MODEL_INFORMATION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PREPARING: FineTune.State
    PRIVATE: FineTune.Visibility
    PUBLIC: FineTune.Visibility
    QUEUED: FineTune.State
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    SOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_UNSPECIFIED: FineTune.State
    SUBMIT_UNKNOWN: FineTune.State
    THEME_FIELD_NUMBER: _ClassVar[int]
    TRAINED: FineTune.State
    TRAINING: FineTune.State
    TRAINING_START_TIME_FIELD_NUMBER: _ClassVar[int]
    TRAIN_TYPE_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORD_FIELD_NUMBER: _ClassVar[int]
    UNPRICED_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_ID_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_STATUS_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_UNSPECIFIED: FineTune.Visibility
    WEIGHTS_URI_FIELD_NUMBER: _ClassVar[int]
    base_model: str
    billed_cost: Cost
    create_time: _timestamp_pb2.Timestamp
    create_time_estimated: bool
    creator: str
    data_source_uri: str
    details_pending: bool
    display_name: str
    end_time: _timestamp_pb2.Timestamp
    estimated_cost: Cost
    etag: str
    failure: Failure
    inference_uri: str
    instance_prompt: str
    labels: _containers.ScalarMap[str, str]
    machine_type: str
    model_information: _struct_pb2.Struct
    name: str
    observe_time: _timestamp_pb2.Timestamp
    parameters: TrainingParameters
    revision: int
    slug: str
    source_type: str
    state: FineTune.State
    theme: str
    train_type: str
    training_start_time: _timestamp_pb2.Timestamp
    transitions: _containers.RepeatedCompositeFieldContainer[StateTransition]
    trigger_word: str
    unpriced: bool
    update_time: _timestamp_pb2.Timestamp
    upstream_id: str
    upstream_status: str
    visibility: FineTune.Visibility
    weights_uri: str
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., data_source_uri: _Optional[str] = ..., instance_prompt: _Optional[str] = ..., trigger_word: _Optional[str] = ..., base_model: _Optional[str] = ..., theme: _Optional[str] = ..., train_type: _Optional[str] = ..., machine_type: _Optional[str] = ..., parameters: _Optional[_Union[TrainingParameters, _Mapping]] = ..., visibility: _Optional[_Union[FineTune.Visibility, str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., state: _Optional[_Union[FineTune.State, str]] = ..., upstream_status: _Optional[str] = ..., upstream_id: _Optional[str] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., creator: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., create_time_estimated: bool = ..., training_start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., observe_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., weights_uri: _Optional[str] = ..., inference_uri: _Optional[str] = ..., slug: _Optional[str] = ..., details_pending: bool = ..., source_type: _Optional[str] = ..., model_information: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., transitions: _Optional[_Iterable[_Union[StateTransition, _Mapping]]] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ..., estimated_cost: _Optional[_Union[Cost, _Mapping]] = ..., unpriced: bool = ..., billed_cost: _Optional[_Union[Cost, _Mapping]] = ...) -> None: ...

class StateTransition(_message.Message):
    __slots__ = ["source", "state", "time", "upstream_status"]
    class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    POLL: StateTransition.Source
    RECONCILE: StateTransition.Source
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_UNSPECIFIED: StateTransition.Source
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUBMIT: StateTransition.Source
    TIME_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_STATUS_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK: StateTransition.Source
    source: StateTransition.Source
    state: FineTune.State
    time: _timestamp_pb2.Timestamp
    upstream_status: str
    def __init__(self, state: _Optional[_Union[FineTune.State, str]] = ..., upstream_status: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[_Union[StateTransition.Source, str]] = ...) -> None: ...

class TrainingParameters(_message.Message):
    __slots__ = ["extra", "face_crop", "finetune_type", "integers", "learning_rate", "steps"]
    class IntegersEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    FACE_CROP_FIELD_NUMBER: _ClassVar[int]
    FINETUNE_TYPE_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    extra: _struct_pb2.Struct
    face_crop: bool
    finetune_type: str
    integers: _containers.ScalarMap[str, int]
    learning_rate: float
    steps: int
    def __init__(self, steps: _Optional[int] = ..., learning_rate: _Optional[float] = ..., face_crop: bool = ..., finetune_type: _Optional[str] = ..., extra: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., integers: _Optional[_Mapping[str, int]] = ...) -> None: ...
