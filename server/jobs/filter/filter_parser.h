#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/jobs/filter/filter_node.h"

namespace finetune {

// Reads a filter's text:
//
//   filter     = [sequence {"AND" sequence}]
//   sequence   = factor {factor}                      both must match, as with AND
//   factor     = term {"OR" term}                     so OR binds tighter than AND (AIP-160)
//   term       = ["NOT" | "-"] ("(" filter ")" | comparison)
//   comparison = field operator value
//              | text                                 a word or a quotation, anywhere in the job
//
// Parses one text. Not thread-safe.
class FilterParser {
 public:
  static constexpr size_t kMaxLength = 2'000;
  static constexpr int kMaxDepth = 50;

  explicit FilterParser(std::string_view text) : text_(text) {}

  // Null for a text of spaces only. INVALID_ARGUMENT / INVALID_FIELD, with the place, for any other
  // text that is not a filter.
  absl::StatusOr<FilterNode::Ptr> Parse();

 private:
  // A value or a name: bare or quoted, with wildcards told apart from stars that were escaped.
  struct Word {
    size_t position = 0;
    std::string text;
    bool any_before = false;
    bool any_after = false;
    bool any_value = false;
  };

  absl::StatusOr<FilterNode::Ptr> Expression(int depth);
  absl::StatusOr<FilterNode::Ptr> Sequence(int depth);
  absl::StatusOr<FilterNode::Ptr> Factor(int depth);
  absl::StatusOr<FilterNode::Ptr> Term(int depth);
  absl::StatusOr<FilterNode::Ptr> Comparison();
  // Whether what comes next is a text, with no operator after it.
  bool AtText();
  absl::StatusOr<FilterNode::Ptr> Text();
  absl::Status Field(FilterComparison& comparison);
  absl::Status LabelKey(std::string_view name, FilterComparison& comparison);
  absl::Status Operator(FilterComparison& comparison);
  absl::Status Value(FilterComparison& comparison);
  absl::Status EnumValue(const Word& word, FilterComparison& comparison);
  absl::Status TimeValue(const Word& word, FilterComparison& comparison);
  absl::Status TextValue(Word word, FilterComparison& comparison);
  absl::StatusOr<Word> ReadWord();
  absl::StatusOr<std::string> Quoted(std::string& pattern);
  std::string_view Bare(std::string_view ends) const;

  void SkipSpace();
  bool AtEnd() const { return position_ == text_.size(); }
  char Peek() const { return AtEnd() ? '\0' : text_[position_]; }
  // Whether this keyword comes next, as a word of its own.
  bool AtKeyword(std::string_view keyword) const;
  absl::Status Fault(size_t position, std::string_view what) const;

  const std::string_view text_;
  size_t position_ = 0;
};

}  // namespace finetune
