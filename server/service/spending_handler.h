#pragma once

#include "server/service/calls/unary_call.h"
#include "server/service/service_parts.h"

namespace finetune {

// GetSpending: reads the ledger, which the view does not have. Thread-safe; answers `call` exactly
// once.
class SpendingHandler {
 public:
  explicit SpendingHandler(const ServiceParts& parts) : parts_(parts) {}

  void Get(const pb::GetSpendingRequest& request, UnaryCall& call);

 private:
  const ServiceParts parts_;
};

}  // namespace finetune
