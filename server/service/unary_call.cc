#include "server/service/unary_call.h"

#include "server/base/error.h"
#include "server/service/grpc_status.h"

namespace finetune {

void UnaryCall::Reply(const google::protobuf::MessageLite& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  ReplyBytes(grpc::ByteBuffer(&slice, 1));
}

void UnaryCall::ReplyBytes(grpc::ByteBuffer bytes) {
  answer_->Swap(&bytes);
  gate_.End(call_, absl::OkStatus(), 1);
  Finish(grpc::Status::OK);
}

void UnaryCall::Fail(const absl::Status& status) {
  gate_.End(call_, status, 0);
  Finish(ToGrpcStatus(status));
}

bool UnaryCall::Parse(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message) {
  grpc::Slice slice;
  if (!bytes.TrySingleSlice(&slice).ok() && !bytes.DumpToSingleSlice(&slice).ok()) return false;
  return message.ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
}

void UnaryCall::FailUnreadable() {
  Fail(Error(absl::StatusCode::kInvalidArgument, pb::INVALID_FIELD,
             "the request is not a message of this method's type (or holds text that is not "
             "UTF-8, or nests too deep)"));
}

}  // namespace finetune
