#include "client/cli/output_format.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/suggestion.h"
#include "server/base/absl_view.h"

namespace finetune::cli {
namespace {

absl::Status Bad(std::string_view path, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("`", std::string(path), "` is no path such as {.name}: ", why));
}

// `\n`, `\t` and the like of a quoted literal.
std::string Unescaped(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      result += text[i];
      continue;
    }
    const char c = text[++i];
    result += c == 'n' ? '\n' : c == 't' ? '\t' : c;
  }
  return result;
}

}  // namespace

absl::StatusOr<PathTemplate::Path> PathTemplate::ParsePath(std::string_view text) {
  Path path;
  std::string_view rest = text;
  if (!rest.empty() && rest.front() == '$') rest.remove_prefix(1);
  if (rest.empty() || (rest.front() != '.' && rest.front() != '['))
    return Bad(text, "it begins with a dot");
  while (!rest.empty()) {
    if (rest.front() == '.') {
      rest.remove_prefix(1);
      const size_t end = std::min(rest.find_first_of(".["), rest.size());
      if (end > 0) path.push_back({Step::Kind::kMember, std::string(rest.substr(0, end))});
      rest.remove_prefix(end);
      continue;
    }
    const size_t end = rest.find(']');
    if (rest.front() != '[' || end == rest.npos) return Bad(text, "a `[` has no `]`");
    const std::string_view inner = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    int index = 0;
    if (inner == "*") {
      path.push_back({Step::Kind::kAll, ""});
    } else if (inner.size() > 2 && (inner.front() == '\'' || inner.front() == '"') &&
               inner.back() == inner.front()) {
      path.push_back({Step::Kind::kMember, std::string(inner.substr(1, inner.size() - 2))});
    } else if (absl::SimpleAtoi(AbslView(inner), &index)) {
      path.push_back({Step::Kind::kIndex, "", index});
    } else {
      return Bad(text, "in `[]` stands a number, * or a name in quotes");
    }
  }
  return path;
}

std::vector<const JsonTree*> PathTemplate::Select(const JsonTree& value, const Path& path) {
  std::vector<const JsonTree*> found = {&value};
  for (const Step& step : path) {
    std::vector<const JsonTree*> next;
    for (const JsonTree* tree : found) {
      const int size = static_cast<int>(tree->items.size());
      if (step.kind == Step::Kind::kAll) {
        for (const JsonTree& item : tree->items) next.push_back(&item);
      } else if (step.kind == Step::Kind::kMember) {
        if (const JsonTree* member = tree->Find(step.member)) next.push_back(member);
      } else if (tree->kind == JsonTree::Kind::kList) {
        const int index = step.index < 0 ? size + step.index : step.index;
        if (index >= 0 && index < size) next.push_back(&tree->items[index]);
      }
    }
    found = std::move(next);
  }
  return found;
}

absl::Status PathTemplate::AddExpression(std::string_view expression) {
  absl::string_view text = absl::StripAsciiWhitespace(AbslView(expression));
  if (text == "end") {
    parts_.push_back({.kind = Part::Kind::kEnd, .text = "", .path = {}});
    return absl::OkStatus();
  }
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
    parts_.push_back({.text = Unescaped({text.data(), text.size()}), .path = {}});
    return absl::OkStatus();
  }
  Part part{.kind = absl::ConsumePrefix(&text, "range ") ? Part::Kind::kRange : Part::Kind::kPath,
            .text = "",
            .path = {}};
  text = absl::StripAsciiWhitespace(text);
  auto path = ParsePath({text.data(), text.size()});
  if (!path.ok()) return path.status();
  part.path = *std::move(path);
  parts_.push_back(std::move(part));
  return absl::OkStatus();
}

absl::StatusOr<PathTemplate> PathTemplate::ParseJsonPath(std::string_view text) {
  PathTemplate result;
  if (text.find('{') == text.npos) {
    if (absl::Status status = result.AddExpression(text); !status.ok()) return status;
    return result;
  }
  while (!text.empty()) {
    const size_t open = std::min(text.find('{'), text.size());
    if (open > 0) result.parts_.push_back({.text = Unescaped(text.substr(0, open)), .path = {}});
    text.remove_prefix(open);
    if (text.empty()) break;
    const size_t close = text.find('}');
    if (close == text.npos) return Bad(text, "a `{` has no `}`");
    if (absl::Status status = result.AddExpression(text.substr(1, close - 1)); !status.ok())
      return status;
    text.remove_prefix(close + 1);
  }
  return result;
}

absl::StatusOr<PathTemplate> PathTemplate::ParseTemplate(std::string_view text) {
  PathTemplate result;
  while (!text.empty()) {
    const size_t open = std::min(text.find("{{"), text.size());
    if (open > 0) result.parts_.push_back({.text = Unescaped(text.substr(0, open)), .path = {}});
    text.remove_prefix(open);
    if (text.empty()) break;
    const size_t close = text.find("}}");
    if (close == text.npos) return Bad(text, "a `{{` has no `}}`");
    if (absl::Status status = result.AddExpression(text.substr(2, close - 2)); !status.ok())
      return status;
    text.remove_prefix(close + 2);
  }
  return result;
}

size_t PathTemplate::FillFrom(size_t begin, const JsonTree& value, std::string& out) const {
  size_t at = begin;
  for (; at < parts_.size() && parts_[at].kind != Part::Kind::kEnd; ++at) {
    const Part& part = parts_[at];
    if (part.kind == Part::Kind::kText) {
      out += part.text;
      continue;
    }
    const auto found = Select(value, part.path);
    if (part.kind == Part::Kind::kPath) {
      for (size_t i = 0; i < found.size(); ++i)
        absl::StrAppend(&out, i > 0 ? " " : "", found[i]->Plain());
      continue;
    }
    std::string none;
    size_t end = FillFrom(at + 1, JsonTree(), none);
    for (const JsonTree* item : found) end = FillFrom(at + 1, *item, out);
    at = end;
  }
  return at;
}

std::string PathTemplate::Fill(const JsonTree& value) const {
  std::string out;
  for (size_t at = 0; at < parts_.size(); ++at) at = FillFrom(at, value, out);
  return out;
}

const google::protobuf::Descriptor* PathTemplate::MessageAt(
    const google::protobuf::Descriptor* message, const Path& path,
    std::optional<Unknown>& unknown) {
  for (const Step& step : path) {
    if (message == nullptr) return nullptr;
    if (step.kind != Step::Kind::kMember) continue;
    const google::protobuf::FieldDescriptor* field = nullptr;
    for (int i = 0; i < message->field_count() && field == nullptr; ++i) {
      if (message->field(i)->json_name() == step.member) field = message->field(i);
    }
    if (field == nullptr) {
      if (!unknown) unknown = Unknown{step.member, message};
      return nullptr;
    }
    // Well-known types have their own JSON.
    const bool is_plain = !field->is_map() && field->message_type() != nullptr &&
                          field->message_type()->file()->package() != "google.protobuf";
    message = is_plain ? field->message_type() : nullptr;
  }
  return message;
}

std::optional<PathTemplate::Unknown> PathTemplate::FindUnknown(
    const google::protobuf::Descriptor& message) const {
  std::optional<Unknown> unknown;
  std::vector<const google::protobuf::Descriptor*> within = {&message};
  for (const Part& part : parts_) {
    if (part.kind == Part::Kind::kEnd && within.size() > 1) within.pop_back();
    if (part.kind != Part::Kind::kPath && part.kind != Part::Kind::kRange) continue;
    const auto* found = MessageAt(within.back(), part.path, unknown);
    if (part.kind == Part::Kind::kRange) within.push_back(found);
  }
  return unknown;
}

absl::StatusOr<OutputFormat> OutputFormat::Parse(std::string_view text) {
  OutputFormat format;
  for (const auto& [word, kind] : {std::pair("table", Kind::kTable), std::pair("wide", Kind::kWide),
                                   std::pair("json", Kind::kJson), std::pair("yaml", Kind::kYaml),
                                   std::pair("name", Kind::kName), std::pair("csv", Kind::kCsv)}) {
    format.kind_ = kind;
    if (text == word) return format;
  }
  format.kind_ = Kind::kPath;
  absl::StatusOr<PathTemplate> path = absl::InvalidArgumentError(absl::StrCat(
      "`", std::string(text),
      "` is not an output format: table, wide, json, yaml, name, csv, jsonpath=PATH or "
      "template=TEXT"));
  absl::string_view rest = AbslView(text);
  if (absl::ConsumePrefix(&rest, "jsonpath=")) {
    path = PathTemplate::ParseJsonPath({rest.data(), rest.size()});
  } else if (absl::ConsumePrefix(&rest, "template=") ||
             absl::ConsumePrefix(&rest, "go-template=")) {
    path = PathTemplate::ParseTemplate({rest.data(), rest.size()});
  }
  if (!path.ok()) return path.status();
  format.path_ = *std::move(path);
  return format;
}

std::string OutputFormat::Write(const std::string& json, bool first) const {
  if (kind_ == Kind::kJson) return absl::StrCat(json, "\n");
  const auto tree = ParseJsonTree(json);
  if (!tree.ok()) return "";
  if (kind_ == Kind::kYaml) return absl::StrCat(first ? "" : "---\n", tree->ToYaml());
  std::string line;
  if (kind_ == Kind::kName) {
    const JsonTree* name = tree->Find("name");
    line = name != nullptr ? name->text : "";
  } else {
    line = path_.Fill(*tree);
  }
  return line.empty() || absl::EndsWith(line, "\n") ? line : absl::StrCat(line, "\n");
}

std::string OutputFormat::WarningFor(const google::protobuf::Descriptor& message) const {
  if (kind_ != Kind::kPath) return "";
  const auto unknown = path_.FindUnknown(message);
  if (!unknown) return "";
  std::vector<std::string> names;
  for (int i = 0; i < unknown->of->field_count(); ++i)
    names.push_back(unknown->of->field(i)->json_name());
  const std::string near = NearestTo(unknown->member, names);
  return absl::StrCat("no ", unknown->of->name(), " has a field `", unknown->member,
                      near.empty() ? "`; they are " : absl::StrCat("`; did you mean `", near),
                      near.empty() ? absl::StrJoin(names, ", ") : "`?");
}

}  // namespace finetune::cli
