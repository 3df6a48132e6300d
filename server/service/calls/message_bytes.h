#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "google/protobuf/message_lite.h"

namespace finetune {

// Reads what a client sent into `message`. INVALID_ARGUMENT / INVALID_FIELD.
absl::Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message);

// `message` as it is sent.
grpc::ByteBuffer WriteMessage(const google::protobuf::MessageLite& message);

}  // namespace finetune
