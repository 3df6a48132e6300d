#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace finetune::emulator {

// Bytes that are too many to hold in memory. Thread-safe: many answers read one source.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t size() const = 0;
  // Fills `buffer` from `offset`; false if the bytes cannot be had.
  virtual bool Read(uint64_t offset, char* buffer, size_t count) const = 0;
};

class StoredFile;
struct WireScript;

// One HTTP request, read to its end.
struct Request {
  std::string method;
  std::string path;                            // Percent-decoded.
  std::map<std::string, std::string> query;    // Decoded.
  std::map<std::string, std::string> headers;  // Names in lower case.
  std::string body;                            // Empty if the body was spooled.
  std::shared_ptr<StoredFile> spooled;         // The body of a storage PUT.
  bool too_large = false;

  // The header's value, or nothing.
  std::optional<std::string> Header(const std::string& name) const;
  std::optional<std::string> Query(const std::string& name) const;
};

// One HTTP answer, and how the transport is to mistreat it.
struct Answer {
  int code = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::shared_ptr<const std::string> text;   // The body, unless `source` is set.
  std::shared_ptr<const ByteSource> source;  // The body is [offset, offset + length) of it.
  uint64_t offset = 0;
  uint64_t length = 0;

  // Played in place of all that is above.
  std::shared_ptr<const WireScript> wire;

  // Faults of the transport.
  std::chrono::milliseconds delay{0};
  bool close = false;                   // Not a byte is sent.
  bool reset = false;                   // With RST in place of FIN.
  std::optional<uint64_t> break_after;  // This many bytes of body are sent, then...
  std::chrono::milliseconds stall{0};   // ...nothing for so long, then the connection closes.
  uint64_t bytes_per_second = 0;        // 0: as fast as it goes.

  uint64_t body_size() const { return source ? length : text ? text->size() : 0; }
};

Answer TextAnswer(int code, std::string content_type, std::string body);
Answer JsonAnswer(std::string body);
// Segmind's shape of an error: {"error": text}.
Answer ErrorAnswer(int code, std::string_view text);
// What the router in front of the application says: an HTML page.
Answer HtmlAnswer(int code);
// S3's shape of an error.
Answer XmlAnswer(int code, std::string_view s3_code, std::string_view message);

// The fields of a form body, multipart or urlencoded as `content_type` says; nothing if the type
// is neither or the body does not parse.
std::optional<std::map<std::string, std::string>> ParseForm(const std::string& content_type,
                                                            std::string_view body);

// Percent-encodes all but unreserved characters and those of `keep`.
std::string UrlEncoded(std::string_view text, std::string_view keep = "");

struct ByteRange {
  uint64_t first = 0;
  uint64_t last = 0;  // Inclusive.
};
enum class RangeKind { kWhole, kPart, kUnsatisfiable };
// Reads a Range header against `size` bytes. What is malformed, or asks for several ranges, is
// answered with the whole, as RFC 9110 allows.
RangeKind ParseRange(std::string_view header, uint64_t size, ByteRange* range);

}  // namespace finetune::emulator
