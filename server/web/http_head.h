#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace finetune {

// Why a request does not reach the door: a status code, and a line for its sender.
struct HttpRefusal {
  int code = 400;
  std::string_view why;
};

// The head of an HTTP/1 request.
struct HttpHead {
  struct Field {
    std::string name;  // In lower case.
    std::string value;
  };
  enum class Body { kNone, kOfLength, kChunked };

  std::string method;
  std::string path;   // Decoded.
  std::string query;  // As it was sent, without '?'.
  std::vector<Field> fields;

  Body body = Body::kNone;
  uint64_t length = 0;     // Of a body of known length.
  bool keep_alive = true;  // The connection may be used again.
  bool awaits_continue = false;

  // The value of the first field of this name, in lower case; null if there is none.
  const std::string* Find(std::string_view name) const;
};

// A longer head is refused.
constexpr size_t kMostHeadBytes = size_t{16} << 10;

// How many bytes at the beginning of `text` are a head, including its empty line; 0 if it is not
// complete. A refusal as soon as it is clear that it cannot become a good head.
struct HeadEnd {
  size_t size = 0;
  std::optional<HttpRefusal> refusal;
};
HeadEnd FindHeadEnd(std::string_view text);

// Parses a head that FindHeadEnd found, as strictly as RFC 9112 allows: what we and a proxy in
// front of us could read in two ways is refused. Empty lines before it must have been removed.
std::optional<HttpRefusal> ParseHead(std::string_view text, HttpHead& head);

// Decodes a chunked body as its bytes arrive. Use one for each body. Not thread-safe.
class ChunkDecoder {
 public:
  // Takes what it can from the front of `input`, and appends the data in it to `data`. After a
  // refusal or done() it takes nothing more.
  std::optional<HttpRefusal> Take(std::string_view& input, std::string& data);

  bool done() const { return state_ == State::kDone; }

 private:
  enum class State { kSize, kData, kDataEnd, kTrailer, kDone };

  std::optional<HttpRefusal> TakeSize(std::string_view line);

  State state_ = State::kSize;
  std::string line_;   // The part of it that was received.
  uint64_t left_ = 0;  // Of the chunk.
  size_t trailer_bytes_ = 0;
};

}  // namespace finetune
