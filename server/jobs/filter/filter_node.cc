#include "server/jobs/filter/filter_node.h"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "server/jobs/filter/fold_case.h"

namespace finetune {
namespace {

constexpr std::array<std::string_view, 7> kOperators = {"=", "!=", "<", "<=", ">", ">=", ":"};

using Kind = FilterField::Kind;

struct KindOf {
  Kind operator()(std::string FineTuneVersion::*) const { return Kind::kText; }
  Kind operator()(absl::Time FineTuneVersion::*) const { return Kind::kTime; }
  Kind operator()(absl::btree_map<std::string, std::string> FineTuneVersion::*) const {
    return Kind::kLabel;
  }
  template <typename Enum>
  Kind operator()(Enum FineTuneVersion::*) const {
    return Kind::kEnum;
  }
};

// The number of an enum's value.
struct NumberIn {
  const FineTuneVersion& version;

  template <typename Member>
  int operator()(Member FineTuneVersion::*member) const {
    if constexpr (std::is_convertible_v<Member, int>)
      return version.*member;
    else
      return 0;
  }
};

// The member in which a version keeps the field; `Member` goes with the field's kind.
template <typename Member>
const Member& ValueIn(const FilterField& field, const FineTuneVersion& version) {
  return version.*std::get<Member FineTuneVersion::*>(field.compared->member);
}

template <typename T>
bool Compare(const T& left, FilterOperator op, const T& right) {
  switch (op) {
    case FilterOperator::kEqual:
    case FilterOperator::kHas:
      return left == right;
    case FilterOperator::kNotEqual:
      return left != right;
    case FilterOperator::kLess:
      return left < right;
    case FilterOperator::kLessEqual:
      return left <= right;
    case FilterOperator::kGreater:
      return left > right;
    case FilterOperator::kGreaterEqual:
      return left >= right;
  }
  return false;
}

bool EqualsPattern(std::string_view value, const FilterComparison& pattern) {
  const std::string_view text = pattern.text;
  if (pattern.any_before && pattern.any_after) return value.find(text) != std::string_view::npos;
  if (pattern.any_before) return value.ends_with(text);
  if (pattern.any_after) return value.starts_with(text);
  return value == text;
}

bool MatchesText(std::string_view value, const FilterComparison& comparison) {
  switch (comparison.op) {
    case FilterOperator::kEqual:
      return EqualsPattern(value, comparison);
    case FilterOperator::kNotEqual:
      return !EqualsPattern(value, comparison);
    case FilterOperator::kHas:
      return comparison.any_value ? !value.empty()
                                  : value.find(comparison.text) != std::string_view::npos;
    default:
      return Compare<std::string_view>(value, comparison.op, comparison.text);
  }
}

bool MatchesLabel(const FineTuneVersion& version, const FilterComparison& comparison) {
  const auto it = version.labels.find(comparison.label);
  if (it == version.labels.end()) return comparison.op == FilterOperator::kNotEqual;
  if (comparison.any_value) return true;
  return MatchesText(it->second, comparison);
}

bool StandsAnywhere(const std::string& folded, const FineTuneVersion& version) {
  const auto holds = [&](std::string_view text) {
    thread_local std::string buffer;
    FoldCaseTo(text, buffer);
    return buffer.find(folded) != std::string::npos;
  };
  return holds(version.display_name) || holds(version.instance_prompt) ||
         holds(version.trigger_word) || holds(version.base_model) || holds(version.creator) ||
         std::any_of(version.labels.begin(), version.labels.end(),
                     [&](const auto& label) { return holds(label.second); });
}

// The text in quotes. Escapes the two characters that need it, and stars that are not wildcards.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\' || c == '*') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string Joined(const std::vector<FilterNode::Ptr>& children, std::string_view between) {
  std::string joined = "(";
  for (const FilterNode::Ptr& child : children) {
    if (joined.size() > 1) joined += between;
    joined += child->canonical;
  }
  return joined + ")";
}

FilterNode::Ptr Join(FilterNode::Kind kind, std::vector<FilterNode::Ptr> children) {
  auto node = std::make_shared<FilterNode>();
  node->kind = kind;
  for (FilterNode::Ptr& child : children) {
    if (child->kind == kind) {
      node->children.insert(node->children.end(), child->children.begin(), child->children.end());
    } else {
      node->children.push_back(std::move(child));
    }
  }
  auto& all = node->children;
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a->canonical < b->canonical; });
  all.erase(std::unique(all.begin(), all.end(),
                        [](const auto& a, const auto& b) { return a->canonical == b->canonical; }),
            all.end());
  if (all.empty()) return nullptr;
  if (all.size() == 1) return all.front();
  node->canonical = Joined(all, kind == FilterNode::Kind::kAnd ? " AND " : " OR ");
  return node;
}

}  // namespace

const std::vector<FilterField>& FilterFields() {
  static const auto& fields = *new std::vector<FilterField>([] {
    std::vector<FilterField> all;
    for (const ComparedField& compared : kComparedFields) {
      const auto* field = pb::FineTune::descriptor()->FindFieldByNumber(compared.number);
      all.push_back({.name = field->name(),
                     .kind = std::visit(KindOf(), compared.member),
                     .words = field->enum_type(),
                     .compared = &compared});
    }
    return all;
  }());
  return fields;
}

const FilterField* FindFilterField(std::string_view name) {
  for (const FilterField& field : FilterFields())
    if (field.name == name) return &field;
  return nullptr;
}

const FilterField& AnywhereField() {
  static constexpr FilterField kAnywhere{.name = "*", .kind = Kind::kAnywhere};
  return kAnywhere;
}

bool FilterComparison::Matches(const FineTuneVersion& version) const {
  switch (field->kind) {
    case Kind::kText:
      return MatchesText(ValueIn<std::string>(*field, version), *this);
    case Kind::kTime:
      return Compare(ValueIn<absl::Time>(*field, version), op, time);
    case Kind::kEnum: {
      const int value = std::visit(NumberIn{version}, field->compared->member);
      return any_value ? value != 0 : Compare(value, op, number);
    }
    case Kind::kLabel:
      return MatchesLabel(version, *this);
    case Kind::kAnywhere:
      return StandsAnywhere(text, version);
  }
  return false;
}

std::string FilterComparison::Canonical() const {
  std::string canonical(field->name);
  if (field->kind == Kind::kLabel) canonical += "." + Quoted(label);
  const bool equality = op == FilterOperator::kHas && field->kind == Kind::kEnum && !any_value;
  canonical += equality ? "=" : kOperators[static_cast<size_t>(op)];
  if (any_value) return canonical + "*";
  if (field->kind == Kind::kEnum) return canonical + std::to_string(number);
  if (field->kind == Kind::kTime) {
    return canonical + absl::FormatTime(absl::RFC3339_full, time, absl::UTCTimeZone());
  }
  std::string value = Quoted(text);
  if (any_before) value.insert(1, "*");
  if (any_after) value.insert(value.size() - 1, "*");
  return canonical + value;
}

std::optional<std::string> FilterComparison::IndexKey() const {
  if (any_before || any_after || any_value || field->kind == Kind::kTime ||
      field->kind == Kind::kAnywhere)
    return std::nullopt;
  const bool is_enum = field->kind == Kind::kEnum;
  if (op != FilterOperator::kEqual && !(op == FilterOperator::kHas && is_enum)) return std::nullopt;
  return FilterIndexKey(*field, label, is_enum ? std::to_string(number) : text);
}

FilterNode::Ptr FilterNode::Compare(FilterComparison comparison) {
  auto node = std::make_shared<FilterNode>();
  node->canonical = comparison.Canonical();
  node->comparison = std::move(comparison);
  return node;
}

FilterNode::Ptr FilterNode::All(std::vector<Ptr> children) {
  return Join(Kind::kAnd, std::move(children));
}

FilterNode::Ptr FilterNode::Any(std::vector<Ptr> children) {
  return Join(Kind::kOr, std::move(children));
}

FilterNode::Ptr FilterNode::Not(Ptr child) {
  if (child->kind == Kind::kNot) return child->children.front();
  auto node = std::make_shared<FilterNode>();
  node->kind = Kind::kNot;
  node->canonical = "NOT " + child->canonical;
  node->children.push_back(std::move(child));
  return node;
}

bool FilterNode::Matches(const FineTuneVersion& version) const {
  const auto matches = [&](const Ptr& child) { return child->Matches(version); };
  switch (kind) {
    case Kind::kAnd:
      return std::all_of(children.begin(), children.end(), matches);
    case Kind::kOr:
      return std::any_of(children.begin(), children.end(), matches);
    case Kind::kNot:
      return !children.front()->Matches(version);
    case Kind::kComparison:
      return comparison.Matches(version);
  }
  return false;
}

std::string FilterIndexKey(const FilterField& field, std::string_view label,
                           std::string_view value) {
  std::string key(field.name);
  if (field.kind == Kind::kLabel) key.append(".").append(label);
  return key.append("=").append(value);
}

std::optional<std::string> FilterIndexValue(const FilterField& field,
                                            const FineTuneVersion& version) {
  if (field.kind == Kind::kText) return ValueIn<std::string>(field, version);
  if (field.kind == Kind::kEnum)
    return std::to_string(std::visit(NumberIn{version}, field.compared->member));
  return std::nullopt;
}

}  // namespace finetune
