#include "server/jobs/filter/filter.h"

#include <utility>

#include "server/base/status_macros.h"
#include "server/jobs/filter/filter_node.h"
#include "server/jobs/filter/filter_parser.h"

namespace finetune {
namespace {

// From the one that fewest jobs are likely to share to the one that most share.
constexpr FilterField kBySelectivity[] = {FilterField::kUpstreamId, FilterField::kDisplayName,
                                          FilterField::kLabel,      FilterField::kCreator,
                                          FilterField::kTheme,      FilterField::kBaseModel,
                                          FilterField::kState,      FilterField::kVisibility};

std::optional<std::string> IndexKeyOf(const FilterNode& node) {
  if (node.kind == FilterNode::Kind::kComparison) return node.comparison.IndexKey();
  if (node.kind != FilterNode::Kind::kAnd) return std::nullopt;
  for (FilterField field : kBySelectivity) {
    for (const FilterNode::Ptr& child : node.children) {
      if (child->kind != FilterNode::Kind::kComparison || child->comparison.field != field)
        continue;
      if (auto key = child->comparison.IndexKey()) return key;
    }
  }
  return std::nullopt;
}

size_t ComparisonsOf(const FilterNode& node) {
  // A text is looked for in some six others, which are folded for it.
  if (node.kind == FilterNode::Kind::kComparison &&
      node.comparison.field == FilterField::kAnywhere) {
    return 10;
  }
  size_t count = node.kind == FilterNode::Kind::kComparison ? 1 : 0;
  for (const FilterNode::Ptr& child : node.children) count += ComparisonsOf(*child);
  return count;
}

// Matches all if `root` is null.
class CompiledFilter : public Filter {
 public:
  explicit CompiledFilter(FilterNode::Ptr root)
      : root_(std::move(root)),
        key_(root_ ? root_->canonical : ""),
        comparisons_(root_ ? ComparisonsOf(*root_) : 0),
        index_key_(root_ ? IndexKeyOf(*root_) : std::nullopt) {}

  bool Matches(const FineTuneVersion& version) const override {
    return root_ == nullptr || root_->Matches(version);
  }
  const std::string& key() const override { return key_; }
  bool matches_all() const override { return root_ == nullptr; }
  size_t comparisons() const override { return comparisons_; }
  std::optional<std::string> index_key() const override { return index_key_; }

  const FilterNode::Ptr& root() const { return root_; }

 private:
  const FilterNode::Ptr root_;
  const std::string key_;
  const size_t comparisons_;
  const std::optional<std::string> index_key_;
};

}  // namespace

absl::StatusOr<FilterPtr> Filter::Parse(std::string_view text) {
  ASSIGN_OR_RETURN(FilterNode::Ptr root, FilterParser(text).Parse());
  return std::make_shared<CompiledFilter>(std::move(root));
}

FilterPtr Filter::WithCreator(FilterPtr filter, std::string_view creator) {
  FilterComparison comparison;
  comparison.field = FilterField::kCreator;
  comparison.text = creator;
  std::vector<FilterNode::Ptr> all = {FilterNode::Compare(std::move(comparison))};
  if (filter != nullptr && !filter->matches_all()) {
    all.push_back(static_cast<const CompiledFilter&>(*filter).root());
  }
  return std::make_shared<CompiledFilter>(FilterNode::All(std::move(all)));
}

std::vector<std::string> IndexKeysOf(const FineTuneVersion& version) {
  std::vector<std::string> keys = {
      FilterIndexKey(FilterField::kState, "", std::to_string(version.state)),
      FilterIndexKey(FilterField::kVisibility, "", std::to_string(version.visibility)),
      FilterIndexKey(FilterField::kBaseModel, "", version.base_model),
      FilterIndexKey(FilterField::kTheme, "", version.theme),
      FilterIndexKey(FilterField::kCreator, "", version.creator),
      FilterIndexKey(FilterField::kDisplayName, "", version.display_name),
      FilterIndexKey(FilterField::kUpstreamId, "", version.upstream_id)};
  for (const auto& [key, value] : version.labels) {
    keys.push_back(FilterIndexKey(FilterField::kLabel, key, value));
  }
  return keys;
}

}  // namespace finetune
