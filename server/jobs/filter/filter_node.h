#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/jobs/record/version.h"

namespace finetune {

// What a filter may look at.
enum class FilterField {
  kState,
  kBaseModel,
  kTheme,
  kVisibility,
  kCreator,
  kDisplayName,
  kUpstreamId,
  kCreateTime,
  kUpdateTime,
  kLabel,
  kAnywhere,
};

// `labels` for kLabel, `*` for kAnywhere.
std::string_view NameOf(FilterField field);

enum class FilterOperator { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kHas };

// One comparison, or a text that may stand in several fields, in any case (kAnywhere; `text` is
// folded, see fold_case.h). States and visibilities are compared by their numbers, times as times, the rest
// as bytes. A label that is not there is equal to nothing, less or greater than nothing, and
// unequal to everything.
struct FilterComparison {
  FilterField field = FilterField::kState;
  std::string label;  // The key, for kLabel.
  FilterOperator op = FilterOperator::kEqual;

  std::string text;
  int number = 0;
  absl::Time time;
  // `= "*text*"`: a wildcard at either end. For kHas, `:*`: is there at all.
  bool any_before = false;
  bool any_after = false;
  bool any_value = false;

  bool Matches(const FineTuneVersion& version) const;
  // The same text for comparisons that mean the same.
  std::string Canonical() const;
  std::optional<std::string> IndexKey() const;
};

// A compiled filter expression. Immutable.
struct FilterNode {
  enum class Kind { kAnd, kOr, kNot, kComparison };
  using Ptr = std::shared_ptr<const FilterNode>;

  Kind kind = Kind::kComparison;
  FilterComparison comparison;
  std::vector<Ptr> children;
  std::string canonical;

  static Ptr Compare(FilterComparison comparison);
  // Null for none; children of the same kind become its own; order and repetition are forgotten.
  static Ptr All(std::vector<Ptr> children);
  static Ptr Any(std::vector<Ptr> children);
  static Ptr Not(Ptr child);

  bool Matches(const FineTuneVersion& version) const;
};

// The key under which a version with this value is found. `label` for kLabel.
std::string FilterIndexKey(FilterField field, std::string_view label, std::string_view value);

}  // namespace finetune
