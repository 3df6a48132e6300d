#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/error.h"

namespace finetune {

// What an UploadDatasetRequest holds: a spec, or bytes, which stay where gRPC has put them.
struct UploadPart {
  std::optional<pb::DatasetSpec> spec;
  std::vector<grpc::Slice> chunk;
};

// INVALID_ARGUMENT / INVALID_FIELD for bytes that are no such message, or one with neither.
absl::StatusOr<UploadPart> ReadUploadPart(const grpc::ByteBuffer& message);

}  // namespace finetune
