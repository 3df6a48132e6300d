#include "server/segmind/error_words.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/absl_view.h"
#include "server/base/error.h"
#include "server/json/json.h"
#include "server/segmind/upstream_job.h"

namespace finetune {
namespace {

constexpr size_t kMaxWords = 300;
constexpr size_t kMaxErrorBody = size_t{64} << 10;
constexpr size_t kMaxTexts = 6;
constexpr size_t kMaxCode = 64;
constexpr int kMaxDepth = 3;

bool IsBlank(char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; }

// Members that say what is wrong, the most readable first.
constexpr std::string_view kWordNames[] = {
    "error",   "error_message", "errorMessage",      "message", "msg",         "detail",
    "details", "errors",        "error_description", "reason",  "description", "title"};
// Members that are machine-readable codes if they are text.
constexpr std::string_view kCodeNames[] = {"code", "error_code", "errorCode", "type", "status"};

// The place that FastAPI and its like give with a text, such as ["body", "steps"].
std::string PlaceOf(const JsonValue& entry) {
  for (std::string_view name : {"loc", "field", "param", "path"}) {
    const JsonValue* place = MemberOf(entry, name);
    if (place == nullptr) continue;
    if (!place->IsArray()) return TextOf(*place).value_or("");
    std::vector<std::string> parts;
    for (const JsonValue& part : place->GetArray())
      if (parts.size() < 8) parts.push_back(TextOf(part).value_or(""));
    return absl::StrJoin(parts, ".");
  }
  return "";
}

class WordCollector {
 public:
  void CollectFrom(const JsonValue& object, int depth) {
    for (std::string_view name : kWordNames)
      if (const JsonValue* member = MemberOf(object, name)) Collect(*member, "", depth);
  }

  std::string Joined() const { return absl::StrJoin(texts_, "; "); }

 private:
  void Collect(const JsonValue& value, const std::string& place, int depth) {
    if (depth > kMaxDepth || texts_.size() >= kMaxTexts) return;
    if (value.IsString()) return Add(place, TextOf(value).value_or(""));
    if (value.IsArray()) {
      for (const JsonValue& entry : value.GetArray()) Collect(entry, place, depth + 1);
      return;
    }
    if (!value.IsObject()) return;
    const std::string inner = PlaceOf(value);
    const size_t before = texts_.size();
    for (std::string_view name : kWordNames) {
      if (const JsonValue* member = MemberOf(value, name))
        Collect(*member, inner.empty() ? place : inner, depth + 1);
    }
    if (texts_.size() > before) return;
    // {"steps": ["must be below 6000"]}
    for (const auto& member : value.GetObject())
      if (member.value.IsString() || member.value.IsArray())
        Collect(member.value, std::string(RawText(member.name)), depth + 1);
  }

  void Add(const std::string& place, const std::string& text) {
    if (absl::StripAsciiWhitespace(text).empty()) return;
    std::string whole = place.empty() ? text : absl::StrCat(place, ": ", text);
    for (const std::string& said : texts_)
      if (absl::StrContains(said, whole)) return;
    texts_.push_back(std::move(whole));
  }

  std::vector<std::string> texts_;
};

std::string CodeIn(const JsonValue& object, int depth = 0) {
  for (std::string_view name : kCodeNames) {
    const JsonValue* member = MemberOf(object, name);
    if (member == nullptr || !member->IsString() || member->GetStringLength() > kMaxCode) continue;
    std::string code = absl::AsciiStrToLower(AbslView(RawText(*member)));
    std::replace_if(
        code.begin(), code.end(), [](unsigned char c) { return c == '-' || c == ' ' || c == '.'; },
        '_');
    if (std::any_of(code.begin(), code.end(), absl::ascii_isalpha)) return code;
  }
  const JsonValue* inner = MemberOf(object, "error");
  if (inner == nullptr || depth > 0) return "";
  return CodeIn(*inner, depth + 1);
}

// The word without credentials: keys, tokens, and what follows a URL's `?`.
std::string WordWithoutCredentials(absl::string_view word) {
  // Segmind's keys begin with this.
  if (const size_t at = word.find("SG_"); at != absl::string_view::npos && word.size() - at >= 8)
    return absl::StrCat(word.substr(0, at), "[removed]");
  const size_t scheme = word.find("://");
  if (scheme == absl::string_view::npos) {
    // A URL without its host, or its query alone.
    const size_t query = word.find('?');
    if (query != absl::string_view::npos && absl::StrContains(word.substr(query), "="))
      return std::string(word.substr(0, query));
    const size_t signature = word.find("Signature=");
    return signature == absl::string_view::npos ? std::string(word) : "[removed]";
  }
  const size_t query = word.find_first_of("?#", scheme);
  std::string clean(word.substr(0, query));
  // user:password@host
  const size_t host = scheme + 3;
  const size_t path = std::min(clean.find('/', host), clean.size());
  if (const size_t at = clean.rfind('@', path); at != std::string::npos && at > host)
    clean.erase(host, at + 1 - host);
  return clean;
}

// One line of at most kMaxWords bytes.
std::string OneLine(std::string_view text, const Scrubber& scrubber) {
  // Before the text is cut, or part of a key could remain.
  const std::string clean = WithoutCredentials(text, scrubber);
  std::string line;
  for (const char c : clean) {
    if (!IsBlank(c)) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return ValidUtf8(line, kMaxWords);
}

void ReadJson(const JsonValue& value, const Scrubber& scrubber, ErrorBody& body) {
  body.kind = BodyKind::kJson;
  if (value.IsString()) {
    body.words = OneLine(RawText(value), scrubber);
    return;
  }
  if (!value.IsObject()) return;
  WordCollector collector;
  collector.CollectFrom(value, 0);
  body.words = OneLine(collector.Joined(), scrubber);
  body.code = CodeIn(value);
  body.names_job =
      MemberOf(value, "finetune_id") != nullptr || MemberOf(value, "finetune") != nullptr;
  if (!body.words.empty()) body.kind = BodyKind::kError;
}

bool SaysSomething(const JsonValue& value) {
  if (value.IsNull() || (value.IsBool() && !value.GetBool())) return false;
  if (value.IsString()) return value.GetStringLength() > 0;
  if (value.IsArray()) return !value.Empty();
  if (value.IsObject()) return !value.ObjectEmpty();
  return !value.IsNumber() || value.GetDouble() != 0;
}

template <size_t kCount>
bool IsOneOf(std::string_view name, const std::string_view (&names)[kCount]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

constexpr std::string_view kErrorNames[] = {"error", "errors", "error_message", "errorMessage"};
constexpr std::string_view kSuccessNames[] = {"success", "succeeded", "ok"};
constexpr std::string_view kStatusNames[] = {"status", "code", "status_code", "statusCode"};

bool IsErrorCode(double code) { return code >= 400 && code < 600; }

}  // namespace

bool IsComplaint(std::string_view name, const JsonValue& value) {
  if (IsOneOf(name, kErrorNames)) return SaysSomething(value);
  if (IsOneOf(name, kSuccessNames)) return !BoolOf(value).value_or(true);
  if (!IsOneOf(name, kStatusNames)) return false;
  if (const std::optional<double> code = DoubleOf(value)) return IsErrorCode(*code);
  return value.IsString() && StateOf(RawText(value)) == pb::FineTune::FAILED;
}

ErrorBody ReadErrorBody(std::string_view raw, const Scrubber& scrubber) {
  ErrorBody body;
  absl::string_view text = AbslView(raw);
  if (absl::StartsWith(text, "\xef\xbb\xbf")) text.remove_prefix(3);
  text = absl::StripAsciiWhitespace(text);
  if (text.empty()) return body;
  if (text[0] == '<') {
    body.kind = BodyKind::kPage;
    return body;
  }
  JsonParser parser;
  const std::string_view whole(text.data(), text.size());
  const JsonValue* value = text.size() > kMaxErrorBody ? nullptr : parser.Parse(whole);
  if (value != nullptr) {
    ReadJson(*value, scrubber, body);
  } else if (text[0] == '{' || text[0] == '[' || text[0] == '"' || text.size() > kMaxErrorBody) {
    body.kind = BodyKind::kCut;
  } else {
    body.kind = BodyKind::kText;
    body.words = OneLine(whole, scrubber);
  }
  return body;
}

std::string WithoutCredentials(std::string_view raw, const Scrubber& scrubber) {
  std::string text(raw);
  scrubber.Scrub(text);
  std::string clean;
  bool after_bearer = false;
  for (size_t i = 0; i < text.size();) {
    if (IsBlank(text[i])) {
      clean += text[i++];
      continue;
    }
    const size_t end =
        std::find_if(text.begin() + static_cast<ptrdiff_t>(i), text.end(), IsBlank) - text.begin();
    const absl::string_view word = absl::string_view(text).substr(i, end - i);
    clean += after_bearer ? std::string("[removed]") : WordWithoutCredentials(word);
    after_bearer = absl::EqualsIgnoreCase(word, "bearer") && word != "bearer.";
    i = end;
  }
  return clean;
}

}  // namespace finetune
