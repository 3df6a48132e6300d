#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace finetune {

// The one place where our errors become gRPC's: code, message, and the google.rpc details (payloads
// under `type.googleapis.com/`) as `grpc-status-details-bin`. A status without ErrorInfo gets one
// whose reason is the name of its code. Message and details together stay under 4 KB, because
// clients refuse more than 8 KiB of metadata: violations that do not fit are left out, then details
// other than ErrorInfo and RetryInfo.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace finetune
