"""Client of the Segmind fine-tune gateway.

    from finetune_gateway import connect

    with connect("finetune-gateway:50051", tls_ca="ca.pem", token_file="token") as gateway:
        data = gateway.upload("cats/", public_read=True)
        job = gateway.submit(display_name="cats", data_source_uri=data.data_source_uri, base_model="FAST_FLUX",
                             instance_prompt="a photo of TOK cat", trigger_word="TOK")
        print(gateway.wait(job.name, until="AVAILABLE"))
        gateway.download(job.name, "cats.safetensors")

`finetune_gateway.aio.connect` gives the same calls as coroutines. The messages are those of the contract:
`finetune_gateway.v1`.
"""

from finetune_gateway._proto.segmind.finetune.v1.fine_tune_pb2 import FineTune
from finetune_gateway.client import Client, connect
from finetune_gateway.errors import (
    CancelledError,
    ClientClosedError,
    ConflictError,
    DataLossError,
    FailedPreconditionError,
    GatewayError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    QuotaViolation,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
    Violation,
    WaitTimeout,
)
from finetune_gateway.jobs import Submission, has_reached, is_terminal, state_name
from finetune_gateway.transfers import Download
from finetune_gateway.watching import Event, EventKind

__version__ = "0.1.0"

State = FineTune.State

__all__ = [
    "CancelledError", "Client", "ClientClosedError", "ConflictError", "DataLossError", "Download", "Event", "EventKind", "FailedPreconditionError",
    "FineTune", "GatewayError", "InternalError", "InvalidArgumentError", "NotFoundError", "PermissionDeniedError",
    "QuotaViolation", "ResourceExhaustedError", "State", "Submission", "UnauthenticatedError", "UnavailableError", "UnreachableError",
    "Violation", "WaitTimeout", "connect", "has_reached", "is_terminal", "state_name",
]
