#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace finetune {

// Collects everything that is wrong with a request, so that the caller learns it all at once. Not
// thread-safe.
class Violations {
 public:
  void Add(std::string field, std::string description) {
    found_.emplace_back(std::move(field), std::move(description));
  }
  bool empty() const { return found_.empty(); }

  // OK, or INVALID_ARGUMENT / INVALID_FIELD with a BadRequest that names each field.
  absl::Status ToStatus() const {
    if (found_.empty()) return absl::OkStatus();
    std::string message = absl::StrCat(found_[0].first, ": ", found_[0].second);
    if (found_.size() > 1) absl::StrAppend(&message, " (and ", found_.size() - 1, " more)");
    Error error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD, message);
    // Field returns the error that it was called on.
    for (const auto& [field, description] : found_)
      std::move(error).Field(field, description);  // NOLINT(bugprone-use-after-move)
    return std::move(error);
  }

 private:
  std::vector<std::pair<std::string, std::string>> found_;
};

inline absl::Status InvalidField(std::string field, std::string description) {
  Violations violations;
  violations.Add(std::move(field), std::move(description));
  return violations.ToStatus();
}

}  // namespace finetune
