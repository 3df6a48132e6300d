#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace finetune {

// Why a request is not answered by a door: a status code and a line for its sender.
struct HttpRefusal {
  int code = 400;
  std::string_view why;
};

// What the head of an HTTP/1 request says.
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

  // Null if there is none; the first of several.
  const std::string* Find(std::string_view name) const;
};

// Room for a head; a longer one is refused.
constexpr size_t kMostHeadBytes = size_t{16} << 10;

// How many bytes at the beginning of `text` are a head, its empty line included; 0: not all of it
// has come. A refusal as soon as it is clear that it will be no good one.
struct HeadEnd {
  size_t size = 0;
  std::optional<HttpRefusal> refusal;
};
HeadEnd FindHeadEnd(std::string_view text);

// Reads a head as FindHeadEnd found it, as strictly as RFC 9112 allows: what could be read in two
// ways, by us and by a proxy before us, is refused. Empty lines before it have been taken off.
std::optional<HttpRefusal> ParseHead(std::string_view text, HttpHead& head);

// Takes the framing off a body in chunks, as its bytes come. One for each body.
class ChunkDecoder {
 public:
  // Takes what it can from the front of `input`, and appends to `data` what it carries. After a
  // refusal or done() nothing more is taken.
  std::optional<HttpRefusal> Take(std::string_view& input, std::string& data);

  bool done() const { return state_ == State::kDone; }

 private:
  enum class State { kSize, kData, kDataEnd, kTrailer, kDone };

  std::optional<HttpRefusal> TakeSize(std::string_view line);

  State state_ = State::kSize;
  std::string line_;   // As far as it has come.
  uint64_t left_ = 0;  // Of the chunk.
  size_t trailer_bytes_ = 0;
};

}  // namespace finetune
