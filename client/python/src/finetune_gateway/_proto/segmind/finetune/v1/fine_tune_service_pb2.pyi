from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_pb2 as _fine_tune_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
FINE_TUNE_VIEW_BASIC: FineTuneView
FINE_TUNE_VIEW_FULL: FineTuneView
FINE_TUNE_VIEW_UNSPECIFIED: FineTuneView

class CallerIdentity(_message.Message):
    __slots__ = ["name", "role"]
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ADMIN: CallerIdentity.Role
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ROLE_UNSPECIFIED: CallerIdentity.Role
    SUBMITTER: CallerIdentity.Role
    VIEWER: CallerIdentity.Role
    name: str
    role: CallerIdentity.Role
    def __init__(self, name: _Optional[str] = ..., role: _Optional[_Union[CallerIdentity.Role, str]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ["fine_tune", "type"]
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    CREATED: Change.Type
    FINE_TUNE_FIELD_NUMBER: _ClassVar[int]
    LEFT_FILTER: Change.Type
    SNAPSHOT: Change.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TYPE_UNSPECIFIED: Change.Type
    UPDATED: Change.Type
    fine_tune: _fine_tune_pb2.FineTune
    type: Change.Type
    def __init__(self, type: _Optional[_Union[Change.Type, str]] = ..., fine_tune: _Optional[_Union[_fine_tune_pb2.FineTune, _Mapping]] = ...) -> None: ...

class CreateFineTuneRequest(_message.Message):
    __slots__ = ["fine_tune", "request_id", "validate_only"]
    FINE_TUNE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    fine_tune: _fine_tune_pb2.FineTune
    request_id: str
    validate_only: bool
    def __init__(self, fine_tune: _Optional[_Union[_fine_tune_pb2.FineTune, _Mapping]] = ..., request_id: _Optional[str] = ..., validate_only: bool = ...) -> None: ...

class CreateUploadUrlRequest(_message.Message):
    __slots__ = ["file_name", "public_read"]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_READ_FIELD_NUMBER: _ClassVar[int]
    file_name: str
    public_read: bool
    def __init__(self, file_name: _Optional[str] = ..., public_read: bool = ...) -> None: ...

class Credits(_message.Message):
    __slots__ = ["micros", "observe_time"]
    MICROS_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    micros: int
    observe_time: _timestamp_pb2.Timestamp
    def __init__(self, micros: _Optional[int] = ..., observe_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ["data_source_uri", "image_count", "sha256", "size_bytes", "warnings"]
    DATA_SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    data_source_uri: str
    image_count: int
    sha256: bytes
    size_bytes: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, data_source_uri: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., image_count: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class DatasetSpec(_message.Message):
    __slots__ = ["file_name", "public_read", "sha256", "size_bytes"]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_READ_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    file_name: str
    public_read: bool
    sha256: bytes
    size_bytes: int
    def __init__(self, file_name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., public_read: bool = ..., sha256: _Optional[bytes] = ...) -> None: ...

class DownloadWeightsRequest(_message.Message):
    __slots__ = ["generation", "name", "read_limit", "read_offset", "skip_sha256"]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    READ_LIMIT_FIELD_NUMBER: _ClassVar[int]
    READ_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SKIP_SHA256_FIELD_NUMBER: _ClassVar[int]
    generation: str
    name: str
    read_limit: int
    read_offset: int
    skip_sha256: bool
    def __init__(self, name: _Optional[str] = ..., read_offset: _Optional[int] = ..., read_limit: _Optional[int] = ..., generation: _Optional[str] = ..., skip_sha256: bool = ...) -> None: ...

class DownloadWeightsResponse(_message.Message):
    __slots__ = ["chunk", "crc32c", "generation", "offset", "sha256", "total_size_bytes"]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    crc32c: int
    generation: str
    offset: int
    sha256: bytes
    total_size_bytes: int
    def __init__(self, chunk: _Optional[bytes] = ..., offset: _Optional[int] = ..., total_size_bytes: _Optional[int] = ..., generation: _Optional[str] = ..., crc32c: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class ErrorReason(_message.Message):
    __slots__ = []
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ACCESS_CHANGED: ErrorReason.Reason
    CHECKSUM_MISMATCH: ErrorReason.Reason
    CLIENT_QUOTA_EXCEEDED: ErrorReason.Reason
    CREDENTIALS_INVALID: ErrorReason.Reason
    CREDENTIALS_MISSING: ErrorReason.Reason
    ETAG_MISMATCH: ErrorReason.Reason
    FINE_TUNE_NOT_FOUND: ErrorReason.Reason
    INVALID_FIELD: ErrorReason.Reason
    ISSUER_KEYS_UNAVAILABLE: ErrorReason.Reason
    OVERLOADED: ErrorReason.Reason
    PAGE_TOKEN_INVALID: ErrorReason.Reason
    REASON_UNSPECIFIED: ErrorReason.Reason
    REQUEST_ID_REUSED: ErrorReason.Reason
    RESUME_TOKEN_EXPIRED: ErrorReason.Reason
    RESUME_TOKEN_INVALID: ErrorReason.Reason
    ROLE_NOT_ALLOWED: ErrorReason.Reason
    SERVER_DRAINING: ErrorReason.Reason
    STORE_UNAVAILABLE: ErrorReason.Reason
    UPSTREAM_CREDENTIAL_REJECTED: ErrorReason.Reason
    UPSTREAM_CREDITS_EXHAUSTED: ErrorReason.Reason
    UPSTREAM_MALFORMED: ErrorReason.Reason
    UPSTREAM_RATE_LIMITED: ErrorReason.Reason
    UPSTREAM_REJECTED: ErrorReason.Reason
    UPSTREAM_RETIRED: ErrorReason.Reason
    UPSTREAM_UNAVAILABLE: ErrorReason.Reason
    WEIGHTS_CHANGED: ErrorReason.Reason
    WEIGHTS_NOT_READY: ErrorReason.Reason
    def __init__(self) -> None: ...

class Freshness(_message.Message):
    __slots__ = ["max_staleness", "min_revision"]
    MAX_STALENESS_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    max_staleness: _duration_pb2.Duration
    min_revision: int
    def __init__(self, max_staleness: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., min_revision: _Optional[int] = ...) -> None: ...

class GatewayStatus(_message.Message):
    __slots__ = ["active_fine_tune_count", "caller", "credits", "fine_tune_count", "last_webhook_time", "leader_term", "observe_time", "quotas", "replica", "replicas", "revision", "store", "store_lag", "upstream_calls_left", "upstream_state", "version", "watcher_count"]
    class UpstreamState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ACTIVE_FINE_TUNE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_REJECTED: GatewayStatus.UpstreamState
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED: GatewayStatus.UpstreamState
    FINE_TUNE_COUNT_FIELD_NUMBER: _ClassVar[int]
    HEALTHY: GatewayStatus.UpstreamState
    LAST_WEBHOOK_TIME_FIELD_NUMBER: _ClassVar[int]
    LEADER_TERM_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    RETIRED: GatewayStatus.UpstreamState
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    STORE_LAG_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_CALLS_LEFT_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_STATE_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_STATE_UNSPECIFIED: GatewayStatus.UpstreamState
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WATCHER_COUNT_FIELD_NUMBER: _ClassVar[int]
    active_fine_tune_count: int
    caller: CallerIdentity
    credits: Credits
    fine_tune_count: int
    last_webhook_time: _timestamp_pb2.Timestamp
    leader_term: int
    observe_time: _timestamp_pb2.Timestamp
    quotas: _containers.RepeatedCompositeFieldContainer[QuotaUse]
    replica: str
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaStatus]
    revision: int
    store: str
    store_lag: _duration_pb2.Duration
    upstream_calls_left: int
    upstream_state: GatewayStatus.UpstreamState
    version: str
    watcher_count: int
    def __init__(self, version: _Optional[str] = ..., upstream_state: _Optional[_Union[GatewayStatus.UpstreamState, str]] = ..., observe_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_webhook_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., fine_tune_count: _Optional[int] = ..., active_fine_tune_count: _Optional[int] = ..., watcher_count: _Optional[int] = ..., upstream_calls_left: _Optional[int] = ..., quotas: _Optional[_Iterable[_Union[QuotaUse, _Mapping]]] = ..., caller: _Optional[_Union[CallerIdentity, _Mapping]] = ..., replica: _Optional[str] = ..., store: _Optional[str] = ..., replicas: _Optional[_Iterable[_Union[ReplicaStatus, _Mapping]]] = ..., leader_term: _Optional[int] = ..., store_lag: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., credits: _Optional[_Union[Credits, _Mapping]] = ...) -> None: ...

class GetFineTuneRequest(_message.Message):
    __slots__ = ["freshness", "name"]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    freshness: Freshness
    name: str
    def __init__(self, name: _Optional[str] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...

class GetGatewayStatusRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetSpendingRequest(_message.Message):
    __slots__ = ["end_time", "group_by", "label_key", "start_time", "step", "time_zone"]
    class GroupBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class Step(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    CALLER: GetSpendingRequest.GroupBy
    DAY: GetSpendingRequest.Step
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_UNSPECIFIED: GetSpendingRequest.GroupBy
    LABEL: GetSpendingRequest.GroupBy
    LABEL_KEY_FIELD_NUMBER: _ClassVar[int]
    MODEL: GetSpendingRequest.GroupBy
    MONTH: GetSpendingRequest.Step
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEP_UNSPECIFIED: GetSpendingRequest.Step
    TEAM: GetSpendingRequest.GroupBy
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    end_time: _timestamp_pb2.Timestamp
    group_by: GetSpendingRequest.GroupBy
    label_key: str
    start_time: _timestamp_pb2.Timestamp
    step: GetSpendingRequest.Step
    time_zone: str
    def __init__(self, start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., time_zone: _Optional[str] = ..., group_by: _Optional[_Union[GetSpendingRequest.GroupBy, str]] = ..., label_key: _Optional[str] = ..., step: _Optional[_Union[GetSpendingRequest.Step, str]] = ...) -> None: ...

class GetSpendingResponse(_message.Message):
    __slots__ = ["rows"]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[SpendingRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[SpendingRow, _Mapping]]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ["observe_time"]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    observe_time: _timestamp_pb2.Timestamp
    def __init__(self, observe_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListFineTunesRequest(_message.Message):
    __slots__ = ["filter", "freshness", "order_by", "page_size", "page_token", "view"]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    filter: str
    freshness: Freshness
    order_by: str
    page_size: int
    page_token: str
    view: FineTuneView
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., view: _Optional[_Union[FineTuneView, str]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListFineTunesResponse(_message.Message):
    __slots__ = ["fine_tunes", "next_page_token", "observe_time", "revision", "total_size"]
    FINE_TUNES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    fine_tunes: _containers.RepeatedCompositeFieldContainer[_fine_tune_pb2.FineTune]
    next_page_token: str
    observe_time: _timestamp_pb2.Timestamp
    revision: int
    total_size: int
    def __init__(self, fine_tunes: _Optional[_Iterable[_Union[_fine_tune_pb2.FineTune, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ..., observe_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class QuotaUse(_message.Message):
    __slots__ = ["limit", "metric", "reset_time", "soft", "unit", "used"]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    RESET_TIME_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    limit: int
    metric: str
    reset_time: _timestamp_pb2.Timestamp
    soft: bool
    unit: str
    used: int
    def __init__(self, metric: _Optional[str] = ..., limit: _Optional[int] = ..., used: _Optional[int] = ..., unit: _Optional[str] = ..., reset_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., soft: bool = ...) -> None: ...

class ReplicaStatus(_message.Message):
    __slots__ = ["leader", "name", "start_time", "version"]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    leader: bool
    name: str
    start_time: _timestamp_pb2.Timestamp
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., leader: bool = ...) -> None: ...

class Restart(_message.Message):
    __slots__ = ["reason"]
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    EXPIRED: Restart.Reason
    OTHER_HISTORY: Restart.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    REASON_UNSPECIFIED: Restart.Reason
    TOO_SLOW: Restart.Reason
    reason: Restart.Reason
    def __init__(self, reason: _Optional[_Union[Restart.Reason, str]] = ...) -> None: ...

class SpendingRow(_message.Message):
    __slots__ = ["available_jobs", "cancelled_jobs", "costs", "failed_costs", "failed_jobs", "group", "jobs", "lost_jobs", "open_jobs", "period", "unpriced_jobs"]
    AVAILABLE_JOBS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_JOBS_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_COSTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_JOBS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    LOST_JOBS_FIELD_NUMBER: _ClassVar[int]
    OPEN_JOBS_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    UNPRICED_JOBS_FIELD_NUMBER: _ClassVar[int]
    available_jobs: int
    cancelled_jobs: int
    costs: _containers.RepeatedCompositeFieldContainer[_fine_tune_pb2.Cost]
    failed_costs: _containers.RepeatedCompositeFieldContainer[_fine_tune_pb2.Cost]
    failed_jobs: int
    group: str
    jobs: int
    lost_jobs: int
    open_jobs: int
    period: str
    unpriced_jobs: int
    def __init__(self, period: _Optional[str] = ..., group: _Optional[str] = ..., jobs: _Optional[int] = ..., open_jobs: _Optional[int] = ..., available_jobs: _Optional[int] = ..., failed_jobs: _Optional[int] = ..., cancelled_jobs: _Optional[int] = ..., lost_jobs: _Optional[int] = ..., unpriced_jobs: _Optional[int] = ..., costs: _Optional[_Iterable[_Union[_fine_tune_pb2.Cost, _Mapping]]] = ..., failed_costs: _Optional[_Iterable[_Union[_fine_tune_pb2.Cost, _Mapping]]] = ...) -> None: ...

class Synced(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class UpdateFineTuneRequest(_message.Message):
    __slots__ = ["fine_tune", "update_mask"]
    FINE_TUNE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    fine_tune: _fine_tune_pb2.FineTune
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, fine_tune: _Optional[_Union[_fine_tune_pb2.FineTune, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UploadDatasetRequest(_message.Message):
    __slots__ = ["chunk", "spec"]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    spec: DatasetSpec
    def __init__(self, spec: _Optional[_Union[DatasetSpec, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadUrl(_message.Message):
    __slots__ = ["data_source_uri", "required_headers", "upload_uri"]
    class RequiredHeadersEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATA_SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_HEADERS_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_URI_FIELD_NUMBER: _ClassVar[int]
    data_source_uri: str
    required_headers: _containers.ScalarMap[str, str]
    upload_uri: str
    def __init__(self, upload_uri: _Optional[str] = ..., data_source_uri: _Optional[str] = ..., required_headers: _Optional[_Mapping[str, str]] = ...) -> None: ...

class WaitFineTuneRequest(_message.Message):
    __slots__ = ["name", "timeout", "until"]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    timeout: _duration_pb2.Duration
    until: _fine_tune_pb2.FineTune.State
    def __init__(self, name: _Optional[str] = ..., until: _Optional[_Union[_fine_tune_pb2.FineTune.State, str]] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WaitFineTuneResponse(_message.Message):
    __slots__ = ["done", "fine_tune"]
    DONE_FIELD_NUMBER: _ClassVar[int]
    FINE_TUNE_FIELD_NUMBER: _ClassVar[int]
    done: bool
    fine_tune: _fine_tune_pb2.FineTune
    def __init__(self, fine_tune: _Optional[_Union[_fine_tune_pb2.FineTune, _Mapping]] = ..., done: bool = ...) -> None: ...

class WatchFineTunesRequest(_message.Message):
    __slots__ = ["delivery", "filter", "gap_policy", "heartbeat_interval", "names", "resume_token", "skip_snapshot", "view"]
    class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class GapPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_UNSPECIFIED: WatchFineTunesRequest.Delivery
    EVERY: WatchFineTunesRequest.Delivery
    FAIL: WatchFineTunesRequest.GapPolicy
    FILTER_FIELD_NUMBER: _ClassVar[int]
    GAP_POLICY_FIELD_NUMBER: _ClassVar[int]
    GAP_POLICY_UNSPECIFIED: WatchFineTunesRequest.GapPolicy
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LATEST: WatchFineTunesRequest.Delivery
    NAMES_FIELD_NUMBER: _ClassVar[int]
    RESTART: WatchFineTunesRequest.GapPolicy
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SKIP_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    delivery: WatchFineTunesRequest.Delivery
    filter: str
    gap_policy: WatchFineTunesRequest.GapPolicy
    heartbeat_interval: _duration_pb2.Duration
    names: _containers.RepeatedScalarFieldContainer[str]
    resume_token: str
    skip_snapshot: bool
    view: FineTuneView
    def __init__(self, names: _Optional[_Iterable[str]] = ..., filter: _Optional[str] = ..., resume_token: _Optional[str] = ..., skip_snapshot: bool = ..., view: _Optional[_Union[FineTuneView, str]] = ..., delivery: _Optional[_Union[WatchFineTunesRequest.Delivery, str]] = ..., gap_policy: _Optional[_Union[WatchFineTunesRequest.GapPolicy, str]] = ..., heartbeat_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchFineTunesResponse(_message.Message):
    __slots__ = ["change", "heartbeat", "restart", "resume_token", "revision", "synced"]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    change: Change
    heartbeat: Heartbeat
    restart: Restart
    resume_token: str
    revision: int
    synced: Synced
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ..., synced: _Optional[_Union[Synced, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., restart: _Optional[_Union[Restart, _Mapping]] = ..., resume_token: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class FineTuneView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
