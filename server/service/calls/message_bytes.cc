#include "server/service/calls/message_bytes.h"

#include <grpcpp/support/slice.h>

#include "server/base/error.h"

namespace finetune {

absl::Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message) {
  grpc::Slice slice;
  const bool whole = bytes.TrySingleSlice(&slice).ok() || bytes.DumpToSingleSlice(&slice).ok();
  if (whole && message.ParseFromArray(slice.begin(), static_cast<int>(slice.size())))
    return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
               "the request is not a message of this method's type (or holds text that is not "
               "UTF-8, or nests too deep)");
}

grpc::ByteBuffer WriteMessage(const google::protobuf::MessageLite& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace finetune
