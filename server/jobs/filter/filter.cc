#include "server/jobs/filter/filter.h"

#include <utility>

#include "server/base/status_macros.h"
#include "server/jobs/filter/filter_node.h"
#include "server/jobs/filter/filter_parser.h"

namespace finetune {
namespace {

std::optional<std::string> IndexKeyOf(const FilterNode& node) {
  if (node.kind == FilterNode::Kind::kComparison) return node.comparison.IndexKey();
  if (node.kind != FilterNode::Kind::kAnd) return std::nullopt;
  // Fields come in this order: those first whose values the fewest jobs share.
  for (const FilterField& field : FilterFields()) {
    for (const FilterNode::Ptr& child : node.children) {
      if (child->kind != FilterNode::Kind::kComparison || child->comparison.field != &field)
        continue;
      if (auto key = child->comparison.IndexKey()) return key;
    }
  }
  return std::nullopt;
}

size_t ComparisonsOf(const FilterNode& node) {
  // Such a text is compared with about six fields, which are case-folded for it.
  if (node.kind == FilterNode::Kind::kComparison &&
      node.comparison.field->kind == FilterField::Kind::kAnywhere) {
    return 10;
  }
  size_t count = node.kind == FilterNode::Kind::kComparison ? 1 : 0;
  for (const FilterNode::Ptr& child : node.children) count += ComparisonsOf(*child);
  return count;
}

}  // namespace

Filter::Filter(FilterNode::Ptr root)
    : root_(std::move(root)),
      key_(root_ ? root_->canonical : ""),
      comparisons_(root_ ? ComparisonsOf(*root_) : 0),
      index_key_(root_ ? IndexKeyOf(*root_) : std::nullopt) {}

bool Filter::Matches(const FineTuneVersion& version) const {
  return root_ == nullptr || root_->Matches(version);
}

absl::StatusOr<FilterPtr> Filter::Parse(std::string_view text) {
  ASSIGN_OR_RETURN(FilterNode::Ptr root, FilterParser(text).Parse());
  return std::make_shared<const Filter>(std::move(root));
}

FilterPtr Filter::WithCreator(const FilterPtr& filter, std::string_view creator) {
  FilterComparison comparison;
  comparison.field = FindFilterField("creator");
  comparison.text = creator;
  std::vector<FilterNode::Ptr> all = {FilterNode::Compare(std::move(comparison))};
  if (filter != nullptr && !filter->matches_all()) {
    all.push_back(filter->root_);
  }
  return std::make_shared<const Filter>(FilterNode::All(std::move(all)));
}

std::vector<std::string> IndexKeysOf(const FineTuneVersion& version) {
  std::vector<std::string> keys;
  for (const FilterField& field : FilterFields()) {
    if (const auto value = FilterIndexValue(field, version))
      keys.push_back(FilterIndexKey(field, "", *value));
    if (field.kind != FilterField::Kind::kLabel) continue;
    for (const auto& [key, label] : version.labels)
      keys.push_back(FilterIndexKey(field, key, label));
  }
  return keys;
}

}  // namespace finetune
