#include "server/jobs/filter/filter_parser.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/absl_view.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/jobs/filter/fold_case.h"

namespace finetune {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kNameEnds = " \t\r\n()\"'=!<>:";
// A value may contain colons, because times do.
constexpr std::string_view kValueEnds = " \t\r\n()\"'=!<>";
constexpr std::string_view kOperatorStarts = "=!<>:";
std::string NamesOf(const google::protobuf::EnumDescriptor* type) {
  std::string names;
  for (int i = 0; i < type->value_count(); ++i) {
    if (type->value(i)->number() == 0) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ", type->value(i)->name());
  }
  return names;
}

// The fields that may precede an operator, for messages.
std::string FieldNames() {
  std::string names;
  for (const FilterField& field : FilterFields())
    if (field.kind != FilterField::Kind::kLabel)
      absl::StrAppend(&names, AbslView(field.name), ", ");
  names.resize(names.size() - 2);
  return names + " or labels.KEY before the operator";
}

}  // namespace

absl::StatusOr<FilterNode::Ptr> FilterParser::Parse() {
  if (text_.size() > kMaxLength) {
    return Fault(kMaxLength, absl::StrCat("the end: a filter has at most ", kMaxLength, " bytes"));
  }
  SkipSpace();
  if (AtEnd()) return FilterNode::Ptr();
  ASSIGN_OR_RETURN(FilterNode::Ptr root, Expression(0));
  if (!AtEnd()) return Fault(position_, "AND, OR or the end");
  return root;
}

absl::StatusOr<FilterNode::Ptr> FilterParser::Expression(int depth) {
  if (depth > kMaxDepth) {
    return Fault(position_, absl::StrCat("no more than ", kMaxDepth, " levels of nesting"));
  }
  std::vector<FilterNode::Ptr> all;
  while (true) {
    ASSIGN_OR_RETURN(FilterNode::Ptr next, Sequence(depth));
    all.push_back(std::move(next));
    if (!AtKeyword("AND")) break;
    position_ += 3;
    SkipSpace();
  }
  return FilterNode::All(std::move(all));
}

absl::StatusOr<FilterNode::Ptr> FilterParser::Sequence(int depth) {
  std::vector<FilterNode::Ptr> all;
  do {
    ASSIGN_OR_RETURN(FilterNode::Ptr next, Factor(depth));
    all.push_back(std::move(next));
  } while (!AtEnd() && Peek() != ')' && !AtKeyword("AND"));
  return FilterNode::All(std::move(all));
}

absl::StatusOr<FilterNode::Ptr> FilterParser::Factor(int depth) {
  std::vector<FilterNode::Ptr> any;
  while (true) {
    ASSIGN_OR_RETURN(FilterNode::Ptr next, Term(depth));
    any.push_back(std::move(next));
    if (!AtKeyword("OR")) break;
    position_ += 2;
    SkipSpace();
  }
  return FilterNode::Any(std::move(any));
}

absl::StatusOr<FilterNode::Ptr> FilterParser::Term(int depth) {
  bool negated = false;
  if (AtKeyword("NOT")) {
    negated = true;
    position_ += 3;
  } else if (Peek() == '-') {
    negated = true;
    ++position_;
  }
  SkipSpace();
  FilterNode::Ptr term;
  if (Peek() == '(') {
    ++position_;
    SkipSpace();
    ASSIGN_OR_RETURN(term, Expression(depth + 1));
    if (Peek() != ')') return Fault(position_, "')'");
    ++position_;
    SkipSpace();
  } else {
    ASSIGN_OR_RETURN(term, Comparison());
  }
  return negated ? FilterNode::Not(std::move(term)) : term;
}

bool FilterParser::AtText() {
  if (Peek() == '"' || Peek() == '\'') return true;
  if (AtKeyword("AND") || AtKeyword("OR") || AtKeyword("NOT")) return false;
  const size_t start = position_;
  const std::string_view name = Bare(kNameEnds);
  position_ += name.size();
  // The key of a label may be quoted.
  const bool quoted_key = name == "labels." && (Peek() == '"' || Peek() == '\'');
  SkipSpace();
  const bool has_operator = !AtEnd() && kOperatorStarts.find(Peek()) != std::string_view::npos;
  position_ = start;
  return !name.empty() && !quoted_key && !has_operator;
}

absl::StatusOr<FilterNode::Ptr> FilterParser::Text() {
  ASSIGN_OR_RETURN(const Word word, ReadWord());
  SkipSpace();
  if (!AtEnd() && kOperatorStarts.find(Peek()) != std::string_view::npos)
    return Fault(word.position, FieldNames());
  FilterComparison comparison;
  comparison.op = FilterOperator::kHas;
  // The field contains the text wherever it stands, so a star at either end adds nothing.
  comparison.text = FoldCase(word.text);
  return FilterNode::Compare(std::move(comparison));
}

absl::StatusOr<FilterNode::Ptr> FilterParser::Comparison() {
  if (AtText()) return Text();
  FilterComparison comparison;
  RETURN_IF_ERROR(Field(comparison));
  SkipSpace();
  const bool whole_map =
      comparison.field->kind == FilterField::Kind::kLabel && comparison.label.empty();
  const size_t at = position_;
  RETURN_IF_ERROR(Operator(comparison));
  if (whole_map && comparison.op != FilterOperator::kHas) {
    return Fault(at, "labels.KEY before the operator, or labels:KEY");
  }
  SkipSpace();
  if (whole_map) {
    // `labels:KEY` is `labels.KEY:*`.
    ASSIGN_OR_RETURN(Word key, ReadWord());
    if (key.text.empty() || key.any_before || key.any_after) {
      return Fault(key.position, "a label's key");
    }
    comparison.label = std::move(key.text);
    comparison.any_value = true;
  } else {
    RETURN_IF_ERROR(Value(comparison));
  }
  SkipSpace();
  return FilterNode::Compare(std::move(comparison));
}

absl::Status FilterParser::Field(FilterComparison& comparison) {
  const std::string_view name = Bare(kNameEnds);
  constexpr std::string_view kLabels = "labels";
  if (name.starts_with(kLabels) && name.size() > kLabels.size() && name[kLabels.size()] == '.')
    return LabelKey(name, comparison);
  if (const FilterField* field = FindFilterField(name)) {
    comparison.field = field;
    position_ += name.size();
    return absl::OkStatus();
  }
  return Fault(position_, FieldNames());
}

absl::Status FilterParser::LabelKey(std::string_view name, FilterComparison& comparison) {
  comparison.field = FindFilterField("labels");
  const size_t prefix = std::string_view("labels.").size();
  position_ += prefix;
  if (name.size() > prefix) {
    comparison.label = name.substr(prefix);
    position_ += comparison.label.size();
  } else if (Peek() == '"' || Peek() == '\'') {
    std::string pattern;
    ASSIGN_OR_RETURN(comparison.label, Quoted(pattern));
  }
  return comparison.label.empty() ? Fault(position_, "a label's key") : absl::OkStatus();
}

absl::Status FilterParser::Operator(FilterComparison& comparison) {
  constexpr std::pair<std::string_view, FilterOperator> kAll[] = {
      {"!=", FilterOperator::kNotEqual},
      {"<=", FilterOperator::kLessEqual},
      {">=", FilterOperator::kGreaterEqual},
      {"=", FilterOperator::kEqual},
      {"<", FilterOperator::kLess},
      {">", FilterOperator::kGreater},
      {":", FilterOperator::kHas}};
  for (const auto& [text, op] : kAll) {
    if (!text_.substr(position_).starts_with(text)) continue;
    const bool ordered = op != FilterOperator::kEqual && op != FilterOperator::kNotEqual &&
                         op != FilterOperator::kHas;
    if (ordered && comparison.field->kind == FilterField::Kind::kEnum) {
      return Fault(position_, "=, != or : (it has no order)");
    }
    comparison.op = op;
    position_ += text.size();
    return absl::OkStatus();
  }
  return Fault(position_, "one of the operators = != < <= > >= :");
}

absl::Status FilterParser::Value(FilterComparison& comparison) {
  ASSIGN_OR_RETURN(Word word, ReadWord());
  switch (comparison.field->kind) {
    case FilterField::Kind::kEnum:
      return EnumValue(word, comparison);
    case FilterField::Kind::kTime:
      return TimeValue(word, comparison);
    default:
      return TextValue(std::move(word), comparison);
  }
}

absl::Status FilterParser::EnumValue(const Word& word, FilterComparison& comparison) {
  if (word.any_value && comparison.op == FilterOperator::kHas) {
    comparison.any_value = true;
    return absl::OkStatus();
  }
  const auto* type = comparison.field->words;
  const auto* value = type->FindValueByName(absl::AsciiStrToUpper(word.text));
  if (value == nullptr || word.any_before || word.any_after) {
    return Fault(word.position, absl::StrCat("one of ", NamesOf(type)));
  }
  comparison.number = value->number();
  return absl::OkStatus();
}

absl::Status FilterParser::TimeValue(const Word& word, FilterComparison& comparison) {
  if (comparison.op == FilterOperator::kHas) comparison.op = FilterOperator::kEqual;
  std::string error;
  if (word.any_before || word.any_after ||
      !absl::ParseTime(absl::RFC3339_full, word.text, &comparison.time, &error) ||
      comparison.time == absl::InfiniteFuture() || comparison.time == absl::InfinitePast()) {
    return Fault(word.position, "a time such as \"2026-01-31T12:00:00Z\"");
  }
  return absl::OkStatus();
}

absl::Status FilterParser::TextValue(Word word, FilterComparison& comparison) {
  const bool wild = word.any_before || word.any_after;
  if (comparison.op == FilterOperator::kHas) {
    // "Has" searches the whole value, so only a lone star matters.
    comparison.any_value = word.any_value;
  } else if (comparison.op == FilterOperator::kEqual ||
             comparison.op == FilterOperator::kNotEqual) {
    comparison.any_before = word.any_before;
    comparison.any_after = word.any_after;
  } else if (wild) {
    return Fault(word.position, "a value without *, which only = and != know");
  }
  comparison.text = std::move(word.text);
  return absl::OkStatus();
}

absl::StatusOr<FilterParser::Word> FilterParser::ReadWord() {
  Word word;
  word.position = position_;
  // As word.text, with '*' where a wildcard stands.
  std::string pattern;
  if (Peek() == '"' || Peek() == '\'') {
    ASSIGN_OR_RETURN(word.text, Quoted(pattern));
  } else {
    word.text = Bare(kValueEnds);
    pattern = word.text;
    position_ += word.text.size();
    if (word.text.empty()) return Fault(position_, "a value");
  }
  word.any_value = pattern == "*";
  word.any_before = pattern.starts_with('*');
  word.any_after = pattern.size() > 1 ? pattern.ends_with('*') : word.any_before;
  if (word.any_after) word.text.pop_back();
  if (word.any_before && !word.text.empty()) word.text.erase(0, 1);
  return word;
}

// `pattern` becomes the same text, with x for every escaped character.
absl::StatusOr<std::string> FilterParser::Quoted(std::string& pattern) {
  const size_t start = position_;
  const char quote = text_[position_++];
  std::string value;
  while (!AtEnd() && Peek() != quote) {
    const bool escaped = Peek() == '\\';
    if (escaped && ++position_ == text_.size()) break;
    value.push_back(text_[position_]);
    pattern.push_back(escaped ? 'x' : text_[position_]);
    ++position_;
  }
  if (AtEnd()) return Fault(start, "an end of the quotation that begins here");
  ++position_;
  return value;
}

std::string_view FilterParser::Bare(std::string_view ends) const {
  const size_t end = std::min(text_.find_first_of(ends, position_), text_.size());
  return text_.substr(position_, end - position_);
}

void FilterParser::SkipSpace() {
  position_ = std::min(text_.find_first_not_of(kSpace, position_), text_.size());
}

bool FilterParser::AtKeyword(std::string_view keyword) const {
  const std::string_view rest = text_.substr(position_);
  if (!rest.starts_with(keyword)) return false;
  // `NOT=x` is taken for a field named NOT. There is none, and the message about fields is the
  // better one.
  return rest.size() == keyword.size() ||
         kSpace.find(rest[keyword.size()]) != std::string_view::npos || rest[keyword.size()] == '(';
}

absl::Status FilterParser::Fault(size_t position, std::string_view what) const {
  const std::string description =
      absl::StrCat("at position ", position + 1, ": expected ", AbslView(what));
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
               absl::StrCat("invalid filter: ", description))
      .Field("filter", description);
}

}  // namespace finetune
