#include "server/base/url_signature.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/url.h"

namespace finetune {
namespace {

using absl::string_view;

constexpr int kMaxNesting = 3;  // URLs in parameters of URLs.
constexpr size_t kMaxName = 64;

// Prefixes of cloud providers' parameters, which count as a signature wherever they occur.
constexpr string_view kPrefixes[] = {"x-amz-", "x-goog-", "x-oss-", "x-obs-", "x-cos-",
                                     "x-ms-",  "x-bce-",  "x-tos-", "q-sign", "q-key-time"};
constexpr string_view kCloudNames[] = {"awsaccesskeyid",   "googleaccessid", "ossaccesskeyid",
                                       "key-pair-id",      "q-ak",           "q-header-list",
                                       "q-url-param-list", "security-token"};
// Words of a parameter's name that say what it is for ...
constexpr string_view kWords[] = {
    "sig",        "sign",        "signature", "signed", "hmac",          "token",
    "policy",     "auth",        "secret",    "jwt",    "authorization", "verify",
    "credential", "credentials", "password",  "passwd", "pwd",           "sas",
    "session",    "expires",     "expire",    "expiry", "exp",           "expiration",
    "hdnts",      "hdnea",       "hdntl",     "gda",    "rlkey",         "resourcekey",
    "apikey",     "accesskey"};
// ... or its end, if the name is written in one word.
constexpr string_view kEndings[] = {"token",     "signature",   "secret",   "apikey",
                                    "accesskey", "accesskeyid", "password", "credential"};
// Parameters that go with a signature, and mean something else or nothing without one: Azure's,
// others' nonces and times, and S3's overrides of the answer, which it accepts in signed requests
// only.
constexpr string_view kCompanions[] = {
    "sv",    "ss",    "srt",   "sp",        "se",    "st",     "spr",       "sr",
    "si",    "sip",   "skoid", "sktid",     "skt",   "ske",    "sks",       "skv",
    "saoid", "suoid", "scid",  "sdd",       "ses",   "rscc",   "rscd",      "rsce",
    "rscl",  "rsct",  "ts",    "timestamp", "time",  "t",      "e",         "nonce",
    "md5",   "hash",  "date",  "kid",       "keyid", "key-id", "algorithm", "duration"};

bool IsOneOf(string_view name, const string_view* begin, const string_view* end) {
  return std::find(begin, end, name) != end;
}

std::string PercentEncoded(string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::StrContains("-._~", c))
      encoded += c;
    else
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return encoded;
}

std::string NameOf(string_view parameter) {
  const string_view name = parameter.substr(0, parameter.find('='));
  if (name.size() > 3 * kMaxName) return "";
  return absl::AsciiStrToLower(absl::StrContains(name, "%")
                                   ? PercentDecoded({name.data(), name.size()})
                                   : std::string(name));
}

bool IsCloudName(string_view name) {
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](string_view prefix) { return absl::StartsWith(name, prefix); }) ||
         IsOneOf(name, std::begin(kCloudNames), std::end(kCloudNames));
}

bool IsWordOfName(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }

// Whether a query parameter with that (lower-case) name signs.
bool Signs(string_view name) {
  if (IsCloudName(name)) return true;
  for (string_view ending : kEndings)
    if (absl::EndsWith(name, ending)) return true;
  for (size_t from = 0; from < name.size();) {
    size_t to = from;
    while (to < name.size() && IsWordOfName(name[to])) ++to;
    if (IsOneOf(name.substr(from, to - from), std::begin(kWords), std::end(kWords))) return true;
    from = to + 1;
  }
  return false;
}

bool IsCompanion(string_view name) {
  return absl::StartsWith(name, "response-") ||
         IsOneOf(name, std::begin(kCompanions), std::end(kCompanions));
}

// The position at which a query or a user's name that begins before `from` must have ended.
size_t EndOfUrl(string_view text, size_t from) {
  while (from < text.size() && static_cast<unsigned char>(text[from]) > ' ' && text[from] != 0x7f &&
         !absl::StrContains("\"'<>`()[]{}\\", text[from]))
    ++from;
  return from;
}

class Cleaner {
 public:
  Cleaner(string_view text, int nesting) : text_(text), nesting_(nesting) {}

  // False if there was nothing to remove.
  bool Run(std::string& to) {
    while (at_ < text_.size()) {
      const size_t next = text_.find_first_of("?@=", at_);
      if (next == text_.npos) break;
      if (text_[next] == '?')
        TakeQuery(next);
      else if (text_[next] == '@')
        TakeUser(next);
      else
        TakeLooseParameter(next);
    }
    if (!changed_) return false;
    Keep(text_.size());
    to = std::move(kept_);
    return true;
  }

 private:
  // Keeps everything up to `to` that was not dropped.
  void Keep(size_t to) {
    if (to > done_) absl::StrAppend(&kept_, text_.substr(done_, to - done_));
    done_ = std::max(done_, to);
  }
  void Drop(size_t from, size_t to) {
    Keep(from);
    done_ = to;
    changed_ = true;
  }

  void TakeQuery(size_t question) {
    const size_t end = EndOfUrl(text_, question + 1);
    at_ = end;
    struct Parameter {
      string_view text;
      string_view delimiter;  // In front of it.
      std::string name;
    };
    std::vector<Parameter> parameters;
    bool is_signed = false;
    string_view rest = text_.substr(question + 1, end - question - 1);
    string_view delimiter = "?";
    while (true) {
      const size_t next = rest.find_first_of("&?#");
      parameters.push_back({rest.substr(0, next), delimiter, NameOf(rest.substr(0, next))});
      is_signed = is_signed || Signs(parameters.back().name);
      if (next == rest.npos) break;
      delimiter = rest.substr(next, absl::StartsWith(rest.substr(next), "&amp;") ? 5 : 1);
      rest.remove_prefix(next + delimiter.size());
    }
    std::string query;
    bool changed = false;
    for (const Parameter& parameter : parameters) {
      if (is_signed && (Signs(parameter.name) || IsCompanion(parameter.name))) {
        changed = true;
        continue;
      }
      std::string inner;
      const bool cleaned = CleanValue(parameter.text, inner);
      changed = changed || cleaned;
      absl::StrAppend(&query,
                      query.empty() && parameter.delimiter != "#" ? "?" : parameter.delimiter,
                      cleaned ? string_view(inner) : parameter.text);
    }
    if (!changed) return;
    Drop(question, end);
    absl::StrAppend(&kept_, query);
  }

  // Cleans the value of a parameter that is itself a URL.
  bool CleanValue(string_view parameter, std::string& cleaned) const {
    if (nesting_ >= kMaxNesting || !absl::StrContains(parameter, "%")) return false;
    const size_t equals = std::min(parameter.find('='), parameter.size());
    const string_view encoded = parameter.substr(std::min(equals + 1, parameter.size()));
    const std::string value = PercentDecoded({encoded.data(), encoded.size()});
    std::string inner;
    if (!Cleaner(value, nesting_ + 1).Run(inner)) return false;
    cleaned = absl::StrCat(parameter.substr(0, equals), "=", PercentEncoded(inner));
    return true;
  }

  // Handles `scheme://user:password@host`.
  void TakeUser(size_t at_sign) {
    at_ = at_sign + 1;
    const size_t scheme = text_.substr(done_, at_sign - done_).rfind("://");
    if (scheme == text_.npos) return;
    const size_t from = done_ + scheme + 3;
    const size_t end = std::min(text_.find_first_of("/?#", from), EndOfUrl(text_, from));
    if (end < at_sign) return;
    at_ = text_.substr(0, end).rfind('@') + 1;
    Drop(from, at_);
  }

  // Handles `X-Amz-Signature=...` without a URL in front of it.
  void TakeLooseParameter(size_t equals) {
    at_ = equals + 1;
    size_t from = equals;
    while (from > done_ && equals - from < kMaxName &&
           (IsWordOfName(text_[from - 1]) || text_[from - 1] == '-'))
      --from;
    const std::string name = absl::AsciiStrToLower(text_.substr(from, equals - from));
    if (!IsCloudName(name) && name != "signature") return;
    size_t end = std::min(EndOfUrl(text_, equals + 1), text_.find('&', equals));
    if (end < text_.size() && text_[end] == '&') ++end;
    Drop(from, end);
    at_ = end;
  }

  const string_view text_;
  const int nesting_;
  size_t at_ = 0;
  size_t done_ = 0;
  bool changed_ = false;
  std::string kept_;
};

bool Has(std::string_view text, char c) {
  return std::memchr(text.data(), c, text.size()) != nullptr;
}

bool Clean(std::string_view text, std::string& cleaned) {
  // Most texts have none of the characters with which a signature or a user's name begins.
  if (text.empty() || (!Has(text, '?') && !Has(text, '=') && !Has(text, '@'))) return false;
  return Cleaner({text.data(), text.size()}, 0).Run(cleaned);
}

// The JSON with some of its escapes undone.
std::string Unescaped(string_view json) {
  struct Escape {
    string_view written;
    char means;
  };
  constexpr Escape kEscapes[] = {{"\\u0026", '&'}, {"\\u003d", '='}, {"\\u003D", '='},
                                 {"\\u003f", '?'}, {"\\u003F", '?'}, {"\\/", '/'}};
  std::string plain;
  plain.reserve(json.size());
  while (!json.empty()) {
    const size_t next = json.find('\\');
    absl::StrAppend(&plain, json.substr(0, next));
    if (next == json.npos) break;
    json.remove_prefix(next);
    const auto* escape =
        std::find_if(std::begin(kEscapes), std::end(kEscapes),
                     [&](const Escape& e) { return absl::StartsWith(json, e.written); });
    if (escape != std::end(kEscapes)) {
      plain += escape->means;
      json.remove_prefix(escape->written.size());
    } else {
      absl::StrAppend(&plain, json.substr(0, 2));
      json.remove_prefix(std::min<size_t>(2, json.size()));
    }
  }
  return plain;
}

}  // namespace

std::string WithoutSignatures(std::string_view text) {
  std::string cleaned;
  return Clean(text, cleaned) ? cleaned : std::string(text);
}

bool IsSigned(std::string_view text) {
  std::string ignored;
  return Clean(text, ignored);
}

bool JsonWithoutSignatures(std::string_view json, std::string& cleaned) {
  // Without a query there is nothing that changes from one list to the next.
  if (json.find('?') == json.npos && json.find("\\u003f") == json.npos &&
      json.find("\\u003F") == json.npos)
    return false;
  if (json.find('\\') == json.npos) return Clean(json, cleaned);
  return Clean(Unescaped({json.data(), json.size()}), cleaned);
}

}  // namespace finetune
