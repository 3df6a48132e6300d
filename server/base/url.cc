#include "server/base/url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

absl::Status Bad(absl::string_view why) { return absl::InvalidArgumentError(why); }

absl::Status NoUrl() { return Bad("is no http or https URL"); }

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

// One number of an IPv4 address, as inet_aton and browsers read it: decimal, octal after 0,
// hexadecimal after 0x.
std::optional<uint64_t> AddressNumber(absl::string_view text) {
  int base = 10;
  if (absl::ConsumePrefix(&text, "0x") || absl::ConsumePrefix(&text, "0X"))
    base = 16;
  else if (text.size() > 1 && text.front() == '0')
    base = 8;
  if (text.empty()) return base == 16 ? std::optional<uint64_t>(0) : std::nullopt;
  if (text.size() > 16) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const int digit = IsDigit(c) ? c - '0'
                      : absl::ascii_isxdigit(static_cast<unsigned char>(c))
                          ? absl::ascii_tolower(c) - 'a' + 10
                          : 16;
    if (digit >= base) return std::nullopt;
    value = value * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit);
  }
  return value;
}

// Whether URL parsers take such a host for an IPv4 address: its last label is a number.
bool EndsInNumber(const std::vector<absl::string_view>& labels) {
  const absl::string_view last = labels.back();
  if (absl::StartsWithIgnoreCase(last, "0x"))
    return std::all_of(last.begin() + 2, last.end(),
                       [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); });
  return std::all_of(last.begin(), last.end(), IsDigit);
}

// The address as four numbers; nullopt if it is not an address.
std::optional<std::string> DottedAddress(const std::vector<absl::string_view>& labels) {
  if (labels.size() > 4) return std::nullopt;
  uint64_t address = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::optional<uint64_t> number = AddressNumber(labels[i]);
    if (!number) return std::nullopt;
    const size_t bytes = i + 1 < labels.size() ? 1 : 5 - labels.size();
    if (*number >= uint64_t{1} << (8 * bytes)) return std::nullopt;
    address |= *number << (i + 1 < labels.size() ? 8 * (3 - i) : 0);
  }
  return absl::StrCat(address >> 24, ".", address >> 16 & 0xff, ".", address >> 8 & 0xff, ".",
                      address & 0xff);
}

absl::StatusOr<std::string> HostIn(absl::string_view host) {
  for (const char c : host)
    if (static_cast<unsigned char>(c) >= 0x80)
      return Bad("names a host in letters beyond ASCII; write it in its xn-- form");
  if (!std::all_of(host.begin(), host.end(), IsHostCharacter)) return NoUrl();
  absl::ConsumeSuffix(&host, ".");
  if (host.empty()) return Bad("names no host");
  const std::vector<absl::string_view> labels = absl::StrSplit(host, '.');
  if (std::count(labels.begin(), labels.end(), "") > 0) return NoUrl();
  if (!EndsInNumber(labels)) return absl::AsciiStrToLower(host);
  const std::optional<std::string> address = DottedAddress(labels);
  if (!address) return Bad("names a host that is neither a name nor an address");
  return *address;
}

absl::StatusOr<int> PortIn(absl::string_view text, int otherwise) {
  int port = otherwise;
  const bool number = std::all_of(text.begin(), text.end(), IsDigit);
  if (!number || (!text.empty() && !absl::SimpleAtoi(text, &port)) || port < 1 || port > 65535)
    return Bad("has a port that is no number from 1 to 65535");
  return port;
}

bool MustBeEncoded(unsigned char c) {
  return c <= ' ' || c >= 0x7f || absl::StrContains("\"<>`{}", static_cast<char>(c));
}

std::string Encoded(absl::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (MustBeEncoded(byte))
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    else
      encoded += c;
  }
  return encoded;
}

// The text without the characters that browsers ignore.
std::string Visible(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ') text.remove_prefix(1);
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  std::string visible;
  std::copy_if(text.begin(), text.end(), std::back_inserter(visible),
               [](char c) { return c != '\t' && c != '\n' && c != '\r'; });
  return visible;
}

bool HasScheme(absl::string_view text) {
  const size_t colon = text.find_first_of(":/?#");
  return colon != text.npos && colon > 0 && text[colon] == ':' &&
         absl::ascii_isalpha(static_cast<unsigned char>(text[0]));
}

}  // namespace

bool IsHostCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_';
}

absl::StatusOr<Url> Url::Parse(std::string_view whole) {
  for (const unsigned char c : whole) {
    if (c < ' ' || c == 0x7f) return Bad("holds a control character");
    if (c == ' ' || c == '\\' || c == '"' || c == '<' || c == '>')
      return Bad("must not hold spaces, quotes, backslashes or angle brackets");
  }
  Url url;
  absl::string_view rest(whole.data(), whole.size());
  if (absl::StartsWithIgnoreCase(rest, "https://"))
    url.secure_ = true;
  else if (!absl::StartsWithIgnoreCase(rest, "http://"))
    return NoUrl();
  const size_t scheme = url.secure_ ? 8 : 7;
  rest.remove_prefix(scheme);
  const absl::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (absl::StrContains(authority, "@")) return Bad("must not hold a user name or password");
  absl::string_view port;
  if (absl::StartsWith(authority, "[")) {
    const size_t close = authority.find(']');
    if (close == authority.npos) return NoUrl();
    url.host_ = absl::AsciiStrToLower(authority.substr(1, close - 1));
    port = authority.substr(close + 1);
    if (!port.empty() && !absl::ConsumePrefix(&port, ":")) return NoUrl();
    // Written in the one shortest form.
    in6_addr address;
    char text[INET6_ADDRSTRLEN];
    if (inet_pton(AF_INET6, url.host_.c_str(), &address) != 1 ||
        inet_ntop(AF_INET6, &address, text, sizeof(text)) == nullptr)
      return Bad("names a host that is neither a name nor an address");
    url.host_ = text;
  } else {
    const size_t colon = authority.find(':');
    if (colon != authority.npos) port = authority.substr(colon + 1);
    ASSIGN_OR_RETURN(url.host_, HostIn(authority.substr(0, colon)));
  }
  ASSIGN_OR_RETURN(url.port_, PortIn(port, url.secure_ ? 443 : 80));
  url.text_ = Encoded(rest.substr(0, authority.size()));
  url.text_.insert(0, url.secure_ ? "https://" : "http://");
  url.path_ = url.text_.size();
  absl::StrAppend(&url.text_, Encoded(rest.substr(authority.size())));
  return url;
}

absl::StatusOr<Url> Url::ParseAnswer(std::string_view text) {
  const std::string visible = Visible(text);
  const absl::string_view whole = visible;
  const size_t scheme = whole.find("://");
  if (scheme == whole.npos) return NoUrl();
  // A host is not encoded: it is taken as it is, or refused.
  const size_t path = std::min(whole.find_first_of("/?#\\", scheme + 3), whole.size());
  return Parse(absl::StrCat(whole.substr(0, path), Encoded(whole.substr(path))));
}

absl::StatusOr<Url> Url::Resolve(std::string_view location) const {
  const std::string visible = Visible(location);
  const absl::string_view to = visible;
  if (HasScheme(to)) return ParseAnswer(visible);
  const absl::string_view scheme = secure_ ? "https:" : "http:";
  if (absl::StartsWith(to, "//")) return ParseAnswer(absl::StrCat(scheme, to));
  const absl::string_view origin = absl::string_view(text_).substr(0, path_);
  const absl::string_view here(path_and_query().data(), path_and_query().size());
  const absl::string_view path = here.substr(0, here.find('?'));
  if (to.empty() || to.front() == '#') return ParseAnswer(absl::StrCat(origin, here));
  if (to.front() == '?') return ParseAnswer(absl::StrCat(origin, path, to));
  if (to.front() == '/') return ParseAnswer(absl::StrCat(origin, to));
  // Curl removes dot segments from the path.
  const size_t folder = path.rfind('/');
  return ParseAnswer(
      absl::StrCat(origin, folder == path.npos ? "/" : path.substr(0, folder + 1), to));
}

std::string_view Url::path_and_query() const {
  const std::string_view rest = std::string_view(text_).substr(path_);
  return rest.substr(0, rest.find('#'));
}

std::string PercentDecoded(std::string_view text) {
  const auto is_hex = [&](size_t at) {
    return at < text.size() && absl::ascii_isxdigit(static_cast<unsigned char>(text[at]));
  };
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    uint32_t byte = 0;
    if (text[i] == '%' && is_hex(i + 1) && is_hex(i + 2) &&
        absl::SimpleHexAtoi(absl::string_view(text.data() + i + 1, 2), &byte)) {
      decoded += static_cast<char>(byte);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

}  // namespace finetune
