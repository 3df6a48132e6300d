#pragma once

#include "server/service/calls/unary_call.h"
#include "server/service/service_parts.h"

namespace finetune {

// The calls that change something at Segmind. Handlers are thread-safe and answer `call` exactly
// once.
class WriteHandlers {
 public:
  explicit WriteHandlers(const ServiceParts& parts) : parts_(parts) {}

  void Create(pb::CreateFineTuneRequest request, UnaryCall& call);
  void Update(pb::UpdateFineTuneRequest request, UnaryCall& call);
  void CreateUploadUrl(pb::CreateUploadUrlRequest request, UnaryCall& call);

 private:
  void UpdateFound(UpdateCall update, const pb::UpdateFineTuneRequest& request,
                   const VersionPtr& version, UnaryCall& call);
  void Validate(pb::FineTune checked, UnaryCall& call);
  void ValidateDataset(pb::FineTune checked, UnaryCall& call);

  const ServiceParts parts_;
};

}  // namespace finetune
