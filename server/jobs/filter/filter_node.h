#pragma once

#include <google/protobuf/descriptor.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/jobs/record/version.h"

namespace finetune {

// What a filter may look at: a field that a version keeps, one of its labels, or several texts at
// once (`anywhere`).
struct FilterField {
  enum class Kind { kText, kTime, kEnum, kLabel, kAnywhere };

  std::string_view name;  // As in the contract; `*` for kAnywhere.
  Kind kind;
  const google::protobuf::EnumDescriptor* words = nullptr;  // Of an enum.
  const ComparedField* compared = nullptr;                  // Null for kAnywhere.
};

// All but `anywhere`, in the order of kComparedFields.
const std::vector<FilterField>& FilterFields();
// Null if there is none with that name.
const FilterField* FindFilterField(std::string_view name);
const FilterField& AnywhereField();

enum class FilterOperator { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kHas };

// One comparison, or a text that may stand in several fields, in any case (kAnywhere; `text` is
// folded, see fold_case.h). Enums are compared by their numbers, times as times, the rest as bytes.
// A label that is not there is equal to nothing, less or greater than nothing, and unequal to
// everything.
struct FilterComparison {
  const FilterField* field = &AnywhereField();
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

// The value under which a version is found by this field; nullopt for times, and for labels, of
// which a version has several.
std::optional<std::string> FilterIndexValue(const FilterField& field,
                                            const FineTuneVersion& version);
// The key under which a version with this value is found. `label` for kLabel.
std::string FilterIndexKey(const FilterField& field, std::string_view label,
                           std::string_view value);

}  // namespace finetune
