#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jobs/record/version.h"

namespace finetune {

struct FilterNode;

// A filter in the AIP-160 subset that ListFineTunesRequest.filter documents, compiled. Immutable,
// thread-safe.
class Filter {
 public:
  // An empty text matches all. INVALID_ARGUMENT / INVALID_FIELD with a BadRequest on field `filter`
  // that says where it went wrong.
  static absl::StatusOr<std::shared_ptr<const Filter>> Parse(std::string_view text);

  // `filter` and creator = `creator`: what a caller that sees only its own jobs is held to.
  static std::shared_ptr<const Filter> WithCreator(const std::shared_ptr<const Filter>& filter,
                                                   std::string_view creator);

  // Of a compiled expression; null matches all.
  explicit Filter(std::shared_ptr<const FilterNode> root);

  bool Matches(const FineTuneVersion& version) const;

  // The same for filters that mean the same text; what groups watchers.
  const std::string& key() const { return key_; }
  bool matches_all() const { return root_ == nullptr; }
  // How many comparisons a job may take.
  size_t comparisons() const { return comparisons_; }

  // An equality that every match fulfils, as a key like those of IndexKeysOf(version), so that a
  // change visits only the filters that it may concern; nullopt if the filter has none.
  const std::optional<std::string>& index_key() const { return index_key_; }

 private:
  const std::shared_ptr<const FilterNode> root_;
  const std::string key_;
  const size_t comparisons_;
  const std::optional<std::string> index_key_;
};

using FilterPtr = std::shared_ptr<const Filter>;

// Every key under which a filter may be indexed that this version fulfils.
std::vector<std::string> IndexKeysOf(const FineTuneVersion& version);

}  // namespace finetune
