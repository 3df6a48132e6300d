"""The messages of the contract (segmind.finetune.v1), for what the client has no words of its own for."""

from finetune_gateway._proto.segmind.finetune.v1.fine_tune_pb2 import *  # noqa: F401,F403
from finetune_gateway._proto.segmind.finetune.v1.fine_tune_service_pb2 import *  # noqa: F401,F403
from finetune_gateway._proto.segmind.finetune.v1.fine_tune_service_pb2_grpc import FineTuneServiceStub  # noqa: F401
