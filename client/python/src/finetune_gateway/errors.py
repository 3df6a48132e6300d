"""What a call's failure says."""

from __future__ import annotations

import dataclasses
from typing import Mapping

import grpc

from finetune_gateway._proto.finetune.rpc import error_details_pb2 as details

DOMAIN = "segmind-finetune-gateway"


@dataclasses.dataclass(frozen=True)
class Violation:
    """A field of the request that is wrong, and why."""

    field: str
    description: str


@dataclasses.dataclass(frozen=True)
class QuotaViolation:
    """A limit that was reached: whose, and which."""

    subject: str
    description: str


class GatewayError(Exception):
    """A call failed. There is a subclass for most status codes.

    code: the grpc.StatusCode.
    reason: the contract's ErrorReason by its name, such as "FINE_TUNE_NOT_FOUND"; empty if the gateway gave none, as when it
        is out of reach.
    message: a sentence for people.
    violations: the fields that are wrong, of INVALID_FIELD.
    retry_delay: how many seconds to wait before trying again, if the gateway says so.
    quota: the limits that were reached, of CLIENT_QUOTA_EXCEEDED.
    resource: the name of the job that the error is about, if the gateway says so.
    metadata: more facts, such as Segmind's own status code.
    request_id: of a submit that failed: repeat it with this one.
    """

    def __init__(self, code: grpc.StatusCode, message: str, *, reason: str = "", violations: tuple[Violation, ...] = (),
                 retry_delay: float | None = None, quota: tuple[QuotaViolation, ...] = (), resource: str = "",
                 metadata: Mapping[str, str] | None = None):
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.violations = violations
        self.retry_delay = retry_delay
        self.quota = quota
        self.resource = resource
        self.metadata = dict(metadata or {})
        self.request_id = ""

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"


class InvalidArgumentError(GatewayError):
    """The request is wrong; `violations` says where."""


class NotFoundError(GatewayError):
    """There is no such job, or it is not for this caller's eyes."""


class ConflictError(GatewayError):
    """What the request rests on has changed: get it anew, then repeat."""


class FailedPreconditionError(GatewayError):
    """Not in this state, such as weights of a job that is not trained yet."""


class ResourceExhaustedError(GatewayError):
    """A limit is reached: the caller's own (`quota`), the gateway's, or Segmind's."""


class UnauthenticatedError(GatewayError):
    """No valid credentials were sent."""


class PermissionDeniedError(GatewayError):
    """This caller may not do that."""


class UnavailableError(GatewayError):
    """The gateway, or Segmind behind it, is out of reach; try again after `retry_delay`."""


class UnreachableError(UnavailableError):
    """No connection came about within connect_timeout; the message says why."""

    def __init__(self, message: str):
        super().__init__(grpc.StatusCode.UNAVAILABLE, message)


class DataLossError(GatewayError):
    """Bytes were damaged on their way."""


class InternalError(GatewayError):
    """The gateway cannot do its part, such as with an API key that Segmind refuses."""


class CancelledError(GatewayError):
    """The call was cancelled."""


class ClientClosedError(CancelledError):
    """The client was closed."""

    def __init__(self):
        super().__init__(grpc.StatusCode.CANCELLED, "the client is closed")


class WaitTimeout(TimeoutError):
    """The time of a wait ran out. `fine_tune` is the job as it was last seen, if it was."""

    def __init__(self, message: str, fine_tune=None):
        super().__init__(message)
        self.fine_tune = fine_tune


_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: DataLossError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.CANCELLED: CancelledError,
}


def make(code: grpc.StatusCode, message: str, **more) -> GatewayError:
    return _BY_CODE.get(code, GatewayError)(code, message, **more)


def _details_in(metadata) -> dict[str, object]:
    """The google.rpc details, by the names of their types."""
    found: dict[str, object] = {}
    for key, value in metadata or ():
        if key != "grpc-status-details-bin":
            continue
        try:
            for detail in details.Status.FromString(value).details:
                kind = getattr(details, detail.type_url.rsplit(".", 1)[-1], None)
                if kind is not None:
                    found[detail.type_url.rsplit(".", 1)[-1]] = kind.FromString(detail.value)
        except Exception:  # What cannot be read says nothing.
            continue
    return found


def from_rpc(error: grpc.RpcError) -> GatewayError:
    """The typed error of a failed call, of grpc or of grpc.aio."""
    found = _details_in(error.trailing_metadata())
    info = found.get("ErrorInfo")
    retry = found.get("RetryInfo")
    delay = None
    if retry is not None and retry.HasField("retry_delay"):
        delay = max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)
    made = make(
        error.code(), error.details() or error.code().name,
        reason=info.reason if info is not None and info.domain == DOMAIN else "",
        violations=tuple(Violation(v.field, v.description) for v in found["BadRequest"].field_violations)
        if "BadRequest" in found else (),
        retry_delay=delay,
        quota=tuple(QuotaViolation(v.subject, v.description) for v in found["QuotaFailure"].violations)
        if "QuotaFailure" in found else (),
        resource=found["ResourceInfo"].resource_name if "ResourceInfo" in found else "",
        metadata=info.metadata if info is not None else None)
    made.__cause__ = error
    return made


def worth_repeating(error: GatewayError) -> bool:
    """Whether the same call may succeed later, and repeating it does no harm."""
    if isinstance(error, (ClientClosedError, UnreachableError)):
        return False
    if error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN):
        return True
    # A server that shuts down says CANCELLED to calls that it has not looked at; a connection that was reset shows itself as
    # INTERNAL without a reason.
    if error.code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL):
        return not error.reason
    return error.code == grpc.StatusCode.RESOURCE_EXHAUSTED and error.retry_delay is not None


def may_be_out_of_reach(error: GatewayError) -> bool:
    """Whether the gateway need not have had a part in the failure."""
    return error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED) and not error.reason
