#include "server/jobs/watching/watch_message.h"

#include "server/base/time_proto.h"

namespace finetune {
namespace {

grpc::ByteBuffer Serialise(const pb::WatchFineTunesResponse& response) {
  const grpc::Slice slice(response.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

pb::WatchFineTunesResponse At(const ResumePoint& point) {
  pb::WatchFineTunesResponse response;
  response.set_resume_token(EncodeResumeToken(point));
  response.set_revision(point.revision);
  return response;
}

}  // namespace

grpc::ByteBuffer EncodeSynced(const ResumePoint& point) {
  pb::WatchFineTunesResponse response = At(point);
  response.mutable_synced();
  return Serialise(response);
}

grpc::ByteBuffer EncodeHeartbeat(const ResumePoint& point, absl::Time observe_time) {
  pb::WatchFineTunesResponse response = At(point);
  auto* heartbeat = response.mutable_heartbeat();
  if (observe_time != absl::InfinitePast())
    *heartbeat->mutable_observe_time() = ToProto(observe_time);
  return Serialise(response);
}

grpc::ByteBuffer EncodeReset(pb::Restart::Reason reason) {
  pb::WatchFineTunesResponse response;
  response.mutable_restart()->set_reason(reason);
  return Serialise(response);
}

}  // namespace finetune
