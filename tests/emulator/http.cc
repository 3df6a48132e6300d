#include "tests/emulator/http.h"

#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

std::optional<std::string> Find(const std::map<std::string, std::string>& map,
                                const std::string& name) {
  const auto it = map.find(name);
  if (it == map.end()) return std::nullopt;
  return it->second;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string UrlDecoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
               HexDigit(text[i + 2]) >= 0) {
      out += static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::map<std::string, std::string> ParseUrlEncoded(std::string_view body) {
  std::map<std::string, std::string> fields;
  while (!body.empty()) {
    const size_t end = body.find('&');
    const std::string_view pair = body.substr(0, end);
    const size_t equals = pair.find('=');
    if (!pair.empty()) {
      const std::string_view value =
          equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
      fields[UrlDecoded(pair.substr(0, equals))] = UrlDecoded(value);
    }
    if (end == std::string_view::npos) break;
    body.remove_prefix(end + 1);
  }
  return fields;
}

// The value of `name="..."` or `name=...` in a header such as Content-Disposition.
std::string ParameterOf(std::string_view header, std::string_view name) {
  const std::string lower = absl::AsciiStrToLower(std::string(header));
  size_t at = 0;
  while ((at = lower.find(std::string(name) + "=", at)) != std::string::npos) {
    if (at == 0 || lower[at - 1] == ' ' || lower[at - 1] == ';') break;
    ++at;
  }
  if (at == std::string::npos) return "";
  std::string_view value = header.substr(at + name.size() + 1);
  if (!value.empty() && value[0] == '"') {
    value.remove_prefix(1);
    return std::string(value.substr(0, value.find('"')));
  }
  return std::string(value.substr(0, value.find_first_of("; \r\n")));
}

std::optional<std::map<std::string, std::string>> ParseMultipart(const std::string& boundary,
                                                                 std::string_view body) {
  if (boundary.empty()) return std::nullopt;
  std::map<std::string, std::string> fields;
  const std::string delimiter = "--" + boundary;
  size_t at = body.find(delimiter);
  while (at != std::string_view::npos) {
    at += delimiter.size();
    if (body.substr(at, 2) == "--") return fields;
    const size_t head_end = body.find("\r\n\r\n", at);
    if (head_end == std::string_view::npos) return std::nullopt;
    const size_t next = body.find("\r\n" + delimiter, head_end + 2);
    if (next == std::string_view::npos) return std::nullopt;
    const std::string name = ParameterOf(body.substr(at, head_end - at), "name");
    if (name.empty()) return std::nullopt;
    const size_t start = head_end + 4;
    fields[name] = next >= start ? std::string(body.substr(start, next - start)) : std::string();
    at = next + 2;
  }
  return std::nullopt;
}

std::optional<uint64_t> ParseUnsigned(std::string_view text) {
  uint64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string> Request::Header(const std::string& name) const {
  return Find(headers, name);
}

std::optional<std::string> Request::Query(const std::string& name) const {
  return Find(query, name);
}

Answer TextAnswer(int code, std::string content_type, std::string body) {
  Answer answer;
  answer.code = code;
  answer.content_type = std::move(content_type);
  answer.text = std::make_shared<const std::string>(std::move(body));
  return answer;
}

Answer JsonAnswer(std::string body) { return TextAnswer(200, "application/json", std::move(body)); }

Answer ErrorAnswer(int code, std::string_view text) {
  return TextAnswer(code, "application/json", ObjectText().Add("error", text).Text());
}

Answer HtmlAnswer(int code) {
  const char* title = code == 404   ? "Not Found"
                      : code == 405 ? "Method Not Allowed"
                      : code == 502 ? "Bad Gateway"
                      : code == 504 ? "Gateway Timeout"
                                    : "Error";
  return TextAnswer(code, "text/html; charset=utf-8",
                    absl::StrCat("<!doctype html>\n<html lang=en>\n<title>", code, " ", title,
                                 "</title>\n<h1>", title, "</h1>\n</html>\n"));
}

Answer XmlAnswer(int code, std::string_view s3_code, std::string_view message) {
  std::string body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>";
  body.append(s3_code).append("</Code><Message>").append(message);
  body.append("</Message><RequestId>EMULATOR00000001</RequestId></Error>");
  return TextAnswer(code, "application/xml", std::move(body));
}

std::optional<std::map<std::string, std::string>> ParseForm(const std::string& content_type,
                                                            std::string_view body) {
  const std::string lower = absl::AsciiStrToLower(content_type);
  if (absl::StartsWith(lower, "application/x-www-form-urlencoded")) return ParseUrlEncoded(body);
  if (absl::StartsWith(lower, "multipart/form-data")) {
    return ParseMultipart(ParameterOf(content_type, "boundary"), body);
  }
  return std::nullopt;
}

std::string UrlEncoded(std::string_view text, std::string_view keep) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' ||
                       c == '_' || c == '~' || keep.find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[(static_cast<unsigned char>(c) >> 4) & 15];
      out += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

RangeKind ParseRange(std::string_view header, uint64_t size, ByteRange* range) {
  constexpr std::string_view kUnit = "bytes=";
  if (header.substr(0, kUnit.size()) != kUnit) return RangeKind::kWhole;
  header.remove_prefix(kUnit.size());
  const size_t dash = header.find('-');
  if (dash == std::string_view::npos || header.find(',') != std::string_view::npos) {
    return RangeKind::kWhole;
  }
  const std::string_view from = header.substr(0, dash);
  const std::string_view to = header.substr(dash + 1);
  const std::optional<uint64_t> last = ParseUnsigned(to);
  if (from.empty()) {
    if (!last) return RangeKind::kWhole;
    if (*last == 0 || size == 0) return RangeKind::kUnsatisfiable;
    *range = {*last >= size ? 0 : size - *last, size - 1};
    return RangeKind::kPart;
  }
  const std::optional<uint64_t> first = ParseUnsigned(from);
  if (!first || (!to.empty() && (!last || *last < *first))) return RangeKind::kWhole;
  if (*first >= size) return RangeKind::kUnsatisfiable;
  *range = {*first, last && *last < size ? *last : size - 1};
  return RangeKind::kPart;
}

}  // namespace finetune::emulator
