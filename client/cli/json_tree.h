// JSON as a tree that keeps the order of its members, from which YAML and paths are made.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace finetune::cli {

struct JsonTree {
  enum class Kind { kNull, kTrue, kFalse, kNumber, kString, kList, kObject };

  Kind kind = Kind::kNull;
  // A number as it was written, or a string without quotes and escapes.
  std::string text;
  // The items of a list, or the values of an object in the order of `keys`.
  std::vector<JsonTree> items;
  std::vector<std::string> keys;

  // The member of an object; null if there is none.
  const JsonTree* Find(std::string_view key) const;
  // The value as people read it: a bare string, or anything else as JSON.
  std::string Plain() const;
  std::string ToJson() const;
  // In block style, with a line break at the end.
  std::string ToYaml() const;
};

// INVALID_ARGUMENT for text that is not JSON, or is nested too deeply.
absl::StatusOr<JsonTree> ParseJsonTree(std::string_view json);

}  // namespace finetune::cli
