#include "server/jobs/filter/filter_node.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/jobs/filter/fold_case.h"

namespace finetune {
namespace {

constexpr std::array<std::string_view, 11> kFieldNames = {
    "state",       "base_model",  "theme",       "visibility", "creator", "display_name",
    "upstream_id", "create_time", "update_time", "labels",     "*"};

constexpr std::array<std::string_view, 7> kOperators = {"=", "!=", "<", "<=", ">", ">=", ":"};

bool IsTime(FilterField field) {
  return field == FilterField::kCreateTime || field == FilterField::kUpdateTime;
}

bool IsEnum(FilterField field) {
  return field == FilterField::kState || field == FilterField::kVisibility;
}

const std::string& TextOf(FilterField field, const FineTuneVersion& version) {
  switch (field) {
    case FilterField::kBaseModel:
      return version.base_model;
    case FilterField::kTheme:
      return version.theme;
    case FilterField::kCreator:
      return version.creator;
    case FilterField::kDisplayName:
      return version.display_name;
    default:
      return version.upstream_id;
  }
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
  auto it = version.labels.find(comparison.label);
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

// In quotes, with the two characters escaped that need it, and the star that is none.
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

std::string_view NameOf(FilterField field) { return kFieldNames[static_cast<size_t>(field)]; }

bool FilterComparison::Matches(const FineTuneVersion& version) const {
  switch (field) {
    case FilterField::kState:
      return any_value ? version.state != 0 : Compare<int>(version.state, op, number);
    case FilterField::kVisibility:
      return any_value ? version.visibility != 0 : Compare<int>(version.visibility, op, number);
    case FilterField::kCreateTime:
      return Compare(version.create_time, op, time);
    case FilterField::kUpdateTime:
      return Compare(version.update_time, op, time);
    case FilterField::kLabel:
      return MatchesLabel(version, *this);
    case FilterField::kAnywhere:
      return StandsAnywhere(text, version);
    default:
      return MatchesText(TextOf(field, version), *this);
  }
}

std::string FilterComparison::Canonical() const {
  std::string canonical(NameOf(field));
  if (field == FilterField::kLabel) canonical += "." + Quoted(label);
  const bool equality = op == FilterOperator::kHas && IsEnum(field) && !any_value;
  canonical += equality ? "=" : kOperators[static_cast<size_t>(op)];
  if (any_value) return canonical + "*";
  if (IsEnum(field)) return canonical + std::to_string(number);
  if (IsTime(field)) {
    return canonical + absl::FormatTime(absl::RFC3339_full, time, absl::UTCTimeZone());
  }
  std::string value = Quoted(text);
  if (any_before) value.insert(1, "*");
  if (any_after) value.insert(value.size() - 1, "*");
  return canonical + value;
}

std::optional<std::string> FilterComparison::IndexKey() const {
  if (any_before || any_after || any_value || IsTime(field) || field == FilterField::kAnywhere)
    return std::nullopt;
  const bool equality =
      op == FilterOperator::kEqual || (op == FilterOperator::kHas && IsEnum(field));
  if (!equality) return std::nullopt;
  return FilterIndexKey(field, label, IsEnum(field) ? std::to_string(number) : text);
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

std::string FilterIndexKey(FilterField field, std::string_view label, std::string_view value) {
  std::string key(NameOf(field));
  if (field == FilterField::kLabel) key.append(".").append(label);
  return key.append("=").append(value);
}

}  // namespace finetune
