#include "client/cli/field_words.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/field_rows.h"

namespace finetune::cli {
namespace {

// The fields that are not in FieldRows().
constexpr std::pair<absl::string_view, absl::string_view> kFlagsOfFields[] = {
    {"visibility", "--public"},
    {"parameters.steps", "--steps"},
    {"parameters.learning_rate", "--learning-rate"},
    {"parameters.face_crop", "--face-crop"},
    {"parameters.finetune_type", "--finetune-type"},
    {"request_id", "--request-id"},
    {"filter", "--filter"},
    {"order_by", "--sort"},
    {"page_size", "--page-size"},
    {"file_name", "the file's name"},
    {"freshness.max_staleness", "--max-staleness"},
    {"until", "--until"},
    {"timeout", "--timeout"},
    {"etag", "--etag"},
};

bool IsOfAField(char c) { return absl::ascii_isalnum(c) || absl::StrContains("_.-/", c); }

}  // namespace

std::string FlagOf(std::string_view field) {
  absl::string_view rest(field.data(), field.size());
  absl::ConsumePrefix(&rest, "fine_tune.");
  for (const FieldRow& row : FieldRows())
    if (row.flag != nullptr && rest == row.field->name()) return row.flag;
  for (const auto& [name, flag] : kFlagsOfFields) {
    if (rest == name) return std::string(flag);
  }
  for (const absl::string_view prefix : {"parameters.extra.", "parameters.integers."}) {
    if (absl::ConsumePrefix(&rest, prefix)) return absl::StrCat("--param ", rest);
  }
  if (absl::StartsWith(rest, "parameters.extra") || absl::StartsWith(rest, "parameters.integers"))
    return "--param";
  if (absl::ConsumePrefix(&rest, "labels.")) return absl::StrCat("--label ", rest);
  if (absl::StartsWith(rest, "labels")) return "--label";
  return std::string(field);
}

std::string InWordsOfFlags(std::string_view sentence) {
  std::string result;
  size_t at = 0;
  while (at < sentence.size()) {
    size_t end = at;
    while (end < sentence.size() && IsOfAField(sentence[end])) ++end;
    if (end == at) {
      result += sentence[at++];
      continue;
    }
    std::string_view word = sentence.substr(at, end - at);
    // A full stop ends a sentence, not a field.
    std::string_view stop = word.back() == '.' ? "." : "";
    word.remove_suffix(stop.size());
    // Words that are not only a field's are left alone: only with a prefix or an underscore do they
    // mean one.
    const bool field = word.find('_') != word.npos || word.substr(0, 10) == "fine_tune.";
    absl::StrAppend(&result, field ? FlagOf(word) : std::string(word), std::string(stop));
    at = end;
  }
  return result;
}

}  // namespace finetune::cli
