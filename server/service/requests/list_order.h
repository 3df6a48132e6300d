#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jobs/record/version.h"

namespace finetune {

// ListFineTunesRequest.order_by, compiled. Jobs that are equal in all that it names come in the
// order in which the gateway first saw them, in the direction of the last name: so it is an order
// of all jobs, and a place in it stays what it is. Immutable.
class ListOrder {
 public:
  // An empty text is `create_time desc`. INVALID_ARGUMENT with a message about the text alone.
  static absl::StatusOr<ListOrder> Parse(std::string_view text);

  // Equal for texts that mean the same.
  const std::string& key() const { return key_; }
  // By create_time alone: the catalog keeps that order.
  bool is_kept() const { return terms_.size() == 1 && terms_[0].field == Field::kCreateTime; }
  bool descending() const { return terms_.back().descending; }

  // Whether `a` comes before `b`.
  bool Before(const FineTuneVersion& a, const FineTuneVersion& b) const;

  // A job's place, for a page token, and back: a version that has what this order looks at, and no
  // more. nullopt if these bytes are not a place in this order.
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
