#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/base/error_details.h"

namespace finetune {

// The fields that a refusal names, in its order.
inline std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  rpc::BadRequest bad;
  if (auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest"))
    bad.ParseFromString(std::string(*payload));
  for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
  return fields;
}

}  // namespace finetune
