"""Jobs, and what may be said of their states."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Mapping, Union

from google.protobuf import json_format

from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_pb2 as ft
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_service_pb2 as svc

FineTune = ft.FineTune
StateLike = Union[str, int]

_TERMINAL = (FineTune.AVAILABLE, FineTune.FAILED, FineTune.LOST, FineTune.CANCELLED)


def is_terminal(state: int) -> bool:
    """Whether a job in this state has ended. A state that this version does not know has not."""
    return state in _TERMINAL


def has_reached(state: int, wanted: int) -> bool:
    """Whether a job in `state` has reached `wanted`, itself or a later stage of success."""
    if state == wanted:
        return True
    return wanted != FineTune.SUBMIT_UNKNOWN and wanted < state <= FineTune.AVAILABLE


def state_name(state: int) -> str:
    """The state's name, or its number if this version does not know it."""
    return FineTune.State.Name(state) if state in FineTune.State.values() else str(state)


def state_of(state: StateLike) -> int:
    if isinstance(state, int):
        return state
    try:
        return FineTune.State.Value(state.upper())
    except ValueError:
        known = ", ".join(name for name in FineTune.State.keys() if name != "STATE_UNSPECIFIED")
        raise ValueError(f"there is no state {state!r}; there are {known}") from None


@dataclasses.dataclass(frozen=True)
class Submission:
    """A job that was submitted, and the request_id that names the submission.

    `unknown`: whether Segmind took the job is not known yet (state SUBMIT_UNKNOWN). The gateway finds out; wait for the job or
    watch it, and never submit it again under another request_id.
    """

    fine_tune: FineTune
    request_id: str

    @property
    def name(self) -> str:
        return self.fine_tune.name

    @property
    def unknown(self) -> bool:
        return self.fine_tune.state == FineTune.SUBMIT_UNKNOWN


def create_request(fine_tune: FineTune | None, request_id: str, validate_only: bool, fields: Mapping) -> svc.CreateFineTuneRequest:
    """The request of a submit: from a message, from its fields as keywords, or from both."""
    job = FineTune()
    if fine_tune is not None:
        job.CopyFrom(fine_tune)
    fields = dict(fields)
    parameters = fields.pop("parameters", None)
    if isinstance(parameters, ft.TrainingParameters):
        job.parameters.CopyFrom(parameters)
    elif parameters is not None:
        _set_parameters(job.parameters, parameters)
    visibility = fields.pop("visibility", None)
    if visibility is not None:
        job.visibility = FineTune.Visibility.Value(visibility) if isinstance(visibility, str) else visibility
    job.MergeFrom(FineTune(**fields))
    return svc.CreateFineTuneRequest(
        fine_tune=job, request_id=request_id or ("" if validate_only else str(uuid.uuid4())), validate_only=validate_only)


# Numbers up to here are the same as a double.
_EXACT = 1 << 53


def _set_parameters(parameters: ft.TrainingParameters, values: Mapping) -> None:
    """Each by Segmind's name: into its own field, or where all others go."""
    own = {field.name for field in parameters.DESCRIPTOR.fields} - {"extra", "integers"}
    for name, value in values.items():
        if name in own:
            setattr(parameters, name, value)
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
            parameters.integers[name] = value
        else:
            json_format.ParseDict({name: value}, parameters.extra)


def update_request(name: str, visibility: StateLike | None, labels: Mapping[str, str] | None, remove_labels,
                   etag: str) -> svc.UpdateFineTuneRequest:
    request = svc.UpdateFineTuneRequest(fine_tune=FineTune(name=name, etag=etag))
    if visibility is not None:
        request.fine_tune.visibility = (
            FineTune.Visibility.Value(visibility) if isinstance(visibility, str) else visibility)
        request.update_mask.paths.append("visibility")
    for key, value in (labels or {}).items():
        request.fine_tune.labels[key] = value
        request.update_mask.paths.append(f"labels.{key}")
    request.update_mask.paths.extend(f"labels.{key}" for key in remove_labels)
    return request


def get_request(name: str, max_staleness: float | None) -> svc.GetFineTuneRequest:
    request = svc.GetFineTuneRequest(name=name)
    if max_staleness is not None:
        request.freshness.max_staleness.FromNanoseconds(int(max_staleness * 1e9))
    return request


def list_request(filter: str, order_by: str, page_size: int, full: bool) -> svc.ListFineTunesRequest:
    return svc.ListFineTunesRequest(
        filter=filter, order_by=order_by, page_size=page_size,
        view=svc.FINE_TUNE_VIEW_FULL if full else svc.FINE_TUNE_VIEW_UNSPECIFIED)
