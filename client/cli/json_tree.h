// JSON as a tree that keeps the order of its members: what YAML and paths are made from.
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
  // Of a number as it was written, of a string without quotes and escapes.
  std::string text;
  // Of a list; of an object, in the order of `keys`.
  std::vector<JsonTree> items;
  std::vector<std::string> keys;

  // The member of an object; none if there is no such.
  const JsonTree* Find(std::string_view key) const;
  // As people read one value: strings bare, all else as JSON.
  std::string Plain() const;
  std::string ToJson() const;
  // Block style, with a line's end.
  std::string ToYaml() const;
};

// INVALID_ARGUMENT for what is no JSON, or nested too deep.
absl::StatusOr<JsonTree> ParseJsonTree(std::string_view json);

}  // namespace finetune::cli
