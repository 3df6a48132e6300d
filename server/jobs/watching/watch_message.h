#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "absl/time/time.h"
#include "server/jobs/record/catalog.h"

namespace finetune {

// Serialised pb::WatchFineTunesResponses other than changes (those are version_change.h's).
grpc::ByteBuffer EncodeSynced(const ResumePoint& point);
// InfinitePast leaves observe_time out.
grpc::ByteBuffer EncodeHeartbeat(const ResumePoint& point, absl::Time observe_time);
// Without a token: the one that the client has is useless.
grpc::ByteBuffer EncodeReset(pb::Restart::Reason reason);

}  // namespace finetune
