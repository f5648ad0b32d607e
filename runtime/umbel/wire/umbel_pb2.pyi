from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeclineReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECLINE_UNSPECIFIED: _ClassVar[DeclineReason]
    DECLINE_ERROR: _ClassVar[DeclineReason]
    DECLINE_NOT_ELIGIBLE: _ClassVar[DeclineReason]
    DECLINE_UNSUPPORTED: _ClassVar[DeclineReason]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    TRAIN: _ClassVar[Phase]
    EVALUATE: _ClassVar[Phase]

class RefusalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_UNSPECIFIED: _ClassVar[RefusalReason]
    NOT_A_MEMBER: _ClassVar[RefusalReason]
    NO_COMMON_VERSION: _ClassVar[RefusalReason]
    BAD_EXAMPLE_COUNT: _ClassVar[RefusalReason]
    REPLACED: _ClassVar[RefusalReason]
    PROTOCOL_ERROR: _ClassVar[RefusalReason]
    SHUTTING_DOWN: _ClassVar[RefusalReason]
    NOT_READY: _ClassVar[RefusalReason]

class AckCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_UNSPECIFIED: _ClassVar[AckCode]
    ACCEPTED: _ClassVar[AckCode]
    ROUND_CLOSED: _ClassVar[AckCode]
    REJECTED: _ClassVar[AckCode]
    TRY_AGAIN: _ClassVar[AckCode]

class RejectReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECT_UNSPECIFIED: _ClassVar[RejectReason]
    NOT_IN_COHORT: _ClassVar[RejectReason]
    WRONG_LENGTH: _ClassVar[RejectReason]
    WRONG_DIGEST: _ClassVar[RejectReason]
    TRUNCATED: _ClassVar[RejectReason]
    NOT_FINITE: _ClassVar[RejectReason]
    OUT_OF_RANGE: _ClassVar[RejectReason]
    PARTIAL_REFUSED: _ClassVar[RejectReason]
    MISSING_SCALAR: _ClassVar[RejectReason]
    BAD_EXAMPLES: _ClassVar[RejectReason]
    OTHER_JOB: _ClassVar[RejectReason]
    MALFORMED: _ClassVar[RejectReason]
DECLINE_UNSPECIFIED: DeclineReason
DECLINE_ERROR: DeclineReason
DECLINE_NOT_ELIGIBLE: DeclineReason
DECLINE_UNSUPPORTED: DeclineReason
PHASE_UNSPECIFIED: Phase
TRAIN: Phase
EVALUATE: Phase
REFUSAL_UNSPECIFIED: RefusalReason
NOT_A_MEMBER: RefusalReason
NO_COMMON_VERSION: RefusalReason
BAD_EXAMPLE_COUNT: RefusalReason
REPLACED: RefusalReason
PROTOCOL_ERROR: RefusalReason
SHUTTING_DOWN: RefusalReason
NOT_READY: RefusalReason
ACK_UNSPECIFIED: AckCode
ACCEPTED: AckCode
ROUND_CLOSED: AckCode
REJECTED: AckCode
TRY_AGAIN: AckCode
REJECT_UNSPECIFIED: RejectReason
NOT_IN_COHORT: RejectReason
WRONG_LENGTH: RejectReason
WRONG_DIGEST: RejectReason
TRUNCATED: RejectReason
NOT_FINITE: RejectReason
OUT_OF_RANGE: RejectReason
PARTIAL_REFUSED: RejectReason
MISSING_SCALAR: RejectReason
BAD_EXAMPLES: RejectReason
OTHER_JOB: RejectReason
MALFORMED: RejectReason

class ClientMessage(_message.Message):
    __slots__ = ("hello", "declare", "heartbeat", "decline", "stored")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    DECLARE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DECLINE_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    declare: Declare
    heartbeat: Heartbeat
    decline: Decline
    stored: Stored
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., declare: _Optional[_Union[Declare, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., decline: _Optional[_Union[Decline, _Mapping]] = ..., stored: _Optional[_Union[Stored, _Mapping]] = ...) -> None: ...

class ServerMessage(_message.Message):
    __slots__ = ("welcome", "task", "wrap_up", "cancel", "finished", "refused")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    WRAP_UP_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    task: Task
    wrap_up: WrapUp
    cancel: Cancel
    finished: Finished
    refused: Refused
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., task: _Optional[_Union[Task, _Mapping]] = ..., wrap_up: _Optional[_Union[WrapUp, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_versions", "features", "software")
    PROTOCOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    protocol_versions: _containers.RepeatedScalarFieldContainer[int]
    features: _containers.RepeatedScalarFieldContainer[str]
    software: str
    def __init__(self, protocol_versions: _Optional[_Iterable[int]] = ..., features: _Optional[_Iterable[str]] = ..., software: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol_version", "features", "job", "job_uid", "epoch", "seed", "config_json", "local_parameters", "model_layout", "update_layout", "max_upload_bytes")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    JOB_UID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    MODEL_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    features: _containers.RepeatedScalarFieldContainer[str]
    job: str
    job_uid: str
    epoch: int
    seed: int
    config_json: str
    local_parameters: _containers.RepeatedScalarFieldContainer[str]
    model_layout: Layout
    update_layout: Layout
    max_upload_bytes: int
    def __init__(self, protocol_version: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ..., job: _Optional[str] = ..., job_uid: _Optional[str] = ..., epoch: _Optional[int] = ..., seed: _Optional[int] = ..., config_json: _Optional[str] = ..., local_parameters: _Optional[_Iterable[str]] = ..., model_layout: _Optional[_Union[Layout, _Mapping]] = ..., update_layout: _Optional[_Union[Layout, _Mapping]] = ..., max_upload_bytes: _Optional[int] = ...) -> None: ...

class Layout(_message.Message):
    __slots__ = ("tensors",)
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("name", "dtype", "shape", "offset", "buffer")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    offset: int
    buffer: bool
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., offset: _Optional[int] = ..., buffer: _Optional[bool] = ...) -> None: ...

class Declare(_message.Message):
    __slots__ = ("num_examples",)
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    num_examples: int
    def __init__(self, num_examples: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Decline(_message.Message):
    __slots__ = ("round", "attempt", "phase", "reason")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    round: int
    attempt: int
    phase: Phase
    reason: DeclineReason
    def __init__(self, round: _Optional[int] = ..., attempt: _Optional[int] = ..., phase: _Optional[_Union[Phase, str]] = ..., reason: _Optional[_Union[DeclineReason, str]] = ...) -> None: ...

class Stored(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Task(_message.Message):
    __slots__ = ("phase", "round", "attempt", "epoch", "model_version", "model_digest", "seconds_left", "grace_seconds", "strategy", "strategy_parameters", "training_loss", "accepts_partial")
    class StrategyParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_LOSS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTS_PARTIAL_FIELD_NUMBER: _ClassVar[int]
    phase: Phase
    round: int
    attempt: int
    epoch: int
    model_version: int
    model_digest: str
    seconds_left: float
    grace_seconds: float
    strategy: str
    strategy_parameters: _containers.ScalarMap[str, float]
    training_loss: bool
    accepts_partial: bool
    def __init__(self, phase: _Optional[_Union[Phase, str]] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., epoch: _Optional[int] = ..., model_version: _Optional[int] = ..., model_digest: _Optional[str] = ..., seconds_left: _Optional[float] = ..., grace_seconds: _Optional[float] = ..., strategy: _Optional[str] = ..., strategy_parameters: _Optional[_Mapping[str, float]] = ..., training_loss: _Optional[bool] = ..., accepts_partial: _Optional[bool] = ...) -> None: ...

class WrapUp(_message.Message):
    __slots__ = ("round", "attempt", "seconds_left")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    round: int
    attempt: int
    seconds_left: float
    def __init__(self, round: _Optional[int] = ..., attempt: _Optional[int] = ..., seconds_left: _Optional[float] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("round", "attempt", "phase")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    round: int
    attempt: int
    phase: Phase
    def __init__(self, round: _Optional[int] = ..., attempt: _Optional[int] = ..., phase: _Optional[_Union[Phase, str]] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("outcome", "reason", "has_model", "model_version", "model_digest")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HAS_MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    outcome: str
    reason: str
    has_model: bool
    model_version: int
    model_digest: str
    def __init__(self, outcome: _Optional[str] = ..., reason: _Optional[str] = ..., has_model: _Optional[bool] = ..., model_version: _Optional[int] = ..., model_digest: _Optional[str] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("reason", "message", "permanent")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    reason: RefusalReason
    message: str
    permanent: bool
    def __init__(self, reason: _Optional[_Union[RefusalReason, str]] = ..., message: _Optional[str] = ..., permanent: _Optional[bool] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("job_uid", "model_version")
    JOB_UID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    job_uid: str
    model_version: int
    def __init__(self, job_uid: _Optional[str] = ..., model_version: _Optional[int] = ...) -> None: ...

class ModelFrame(_message.Message):
    __slots__ = ("header", "data", "commit")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    header: ModelHeader
    data: bytes
    commit: Commit
    def __init__(self, header: _Optional[_Union[ModelHeader, _Mapping]] = ..., data: _Optional[bytes] = ..., commit: _Optional[_Union[Commit, _Mapping]] = ...) -> None: ...

class ModelHeader(_message.Message):
    __slots__ = ("model_version", "length")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    model_version: int
    length: int
    def __init__(self, model_version: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class UpdateFrame(_message.Message):
    __slots__ = ("header", "data", "commit")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    header: UpdateHeader
    data: bytes
    commit: Commit
    def __init__(self, header: _Optional[_Union[UpdateHeader, _Mapping]] = ..., data: _Optional[bytes] = ..., commit: _Optional[_Union[Commit, _Mapping]] = ...) -> None: ...

class UpdateHeader(_message.Message):
    __slots__ = ("job_uid", "round", "attempt", "epoch", "length", "steps_done", "steps_planned", "gradients", "scalars")
    class ScalarsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    JOB_UID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    STEPS_DONE_FIELD_NUMBER: _ClassVar[int]
    STEPS_PLANNED_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    SCALARS_FIELD_NUMBER: _ClassVar[int]
    job_uid: str
    round: int
    attempt: int
    epoch: int
    length: int
    steps_done: int
    steps_planned: int
    gradients: bool
    scalars: _containers.ScalarMap[str, float]
    def __init__(self, job_uid: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., epoch: _Optional[int] = ..., length: _Optional[int] = ..., steps_done: _Optional[int] = ..., steps_planned: _Optional[int] = ..., gradients: _Optional[bool] = ..., scalars: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("digest", "padding")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    padding: bytes
    def __init__(self, digest: _Optional[bytes] = ..., padding: _Optional[bytes] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("job_uid", "round", "attempt", "epoch", "num_examples", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    JOB_UID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    job_uid: str
    round: int
    attempt: int
    epoch: int
    num_examples: int
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, job_uid: _Optional[str] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., epoch: _Optional[int] = ..., num_examples: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("code", "reason")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: AckCode
    reason: RejectReason
    def __init__(self, code: _Optional[_Union[AckCode, str]] = ..., reason: _Optional[_Union[RejectReason, str]] = ...) -> None: ...
