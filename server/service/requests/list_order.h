#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jobs/record/version.h"

namespace finetune {

// ListFineTunesRequest.order_by, compiled. Jobs that are equal in all fields that it names come in
// the order in which the gateway first saw them, in the direction of the last field, so that it is
// an order of all jobs, and a place in it stays valid. Immutable.
class ListOrder {
 public:
  // An empty text is `create_time desc`. INVALID_ARGUMENT with a message about the text alone.
  static absl::StatusOr<ListOrder> Parse(std::string_view text);

  // Equal for texts that mean the same.
  const std::string& key() const { return key_; }
  // Whether it is by create_time alone, an order that the catalog keeps.
  bool is_kept() const { return terms_.size() == 1 && terms_[0].field == Field::kCreateTime; }
  bool descending() const { return terms_.back().descending; }

  // Whether `a` comes before `b`.
  bool Before(const FineTuneVersion& a, const FineTuneVersion& b) const;

  // A job's place, for a page token, and back: a version that has only what this order looks at;
  // nullopt if these bytes are not a place in this order.
  std::string PlaceOf(const FineTuneVersion& version) const;
  std::optional<FineTuneVersion> VersionAt(std::string_view place) const;

 private:
  enum class Field { kCreateTime, kUpdateTime, kDisplayName };
  struct Term {
    Field field = Field::kCreateTime;
    bool descending = false;
  };
  static absl::StatusOr<Term> ParseTerm(std::string_view text);

  std::vector<Term> terms_;
  std::string key_;
};

}  // namespace finetune
