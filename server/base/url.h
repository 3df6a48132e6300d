#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace finetune {

// An http or https URL from outside: a caller's, Segmind's, or the target of a redirect. Parsed
// once, by one set of rules, so that the code that checks it and the code that fetches it mean the
// same place. Immutable; thread-safe.
class Url {
 public:
  // Accepts what every parser reads alike, and refuses everything else: user names and passwords,
  // backslashes, white space, quotes, angle brackets, odd hosts and ports. INVALID_ARGUMENT, in
  // words that continue "the URL" and do not quote it.
  static absl::StatusOr<Url> Parse(std::string_view text);

  // The same for a URL in an answer, which nobody can be asked to correct: as in browsers, white
  // space around it and line breaks and tabs within it are dropped, and characters that a URL
  // cannot hold are percent-encoded.
  static absl::StatusOr<Url> ParseAnswer(std::string_view text);

  // Where the Location header of an answer leads from here, read as by ParseAnswer.
  absl::StatusOr<Url> Resolve(std::string_view location) const;

  bool secure() const { return secure_; }  // https.
  // In lower case, without brackets and without a trailing dot. An IPv4 address is four decimal
  // numbers, however it was written (127.1, 0x7f000001, 2130706433).
  const std::string& host() const { return host_; }
  int port() const { return port_; }
  // Everything from the path on, without the fragment.
  std::string_view path_and_query() const;
  // For fetching: with its signature, and in ASCII.
  const std::string& text() const { return text_; }

 private:
  Url() = default;

  bool secure_ = false;
  std::string host_;
  int port_ = 0;
  std::string text_;
  size_t path_ = 0;  // In text_; its size if there is none.
};

// Whether a host name may contain it.
bool IsHostCharacter(char c);

// `text` with percent-encoded bytes decoded; a percent sign that encodes nothing stays.
std::string PercentDecoded(std::string_view text);

}  // namespace finetune
