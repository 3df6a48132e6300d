#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace finetune {

// An http or https URL that came from outside: a caller's, Segmind's, or where an answer leads.
// Read once, by one set of rules, so that who checks it and who fetches it mean the same place.
// Immutable; thread-safe.
class Url {
 public:
  // Takes what every parser reads alike, and refuses the rest without showing it: user names and
  // passwords, backslashes, white space, quotes, angle brackets, odd hosts and ports.
  // INVALID_ARGUMENT, in words that follow "the URL".
  static absl::StatusOr<Url> Parse(std::string_view text);

  // The same for a URL in an answer, where nobody can be asked to write it better: white space
  // around it and line breaks and tabs within are dropped, and what a URL cannot hold is
  // percent-encoded, as browsers do.
  static absl::StatusOr<Url> ParseAnswer(std::string_view text);

  // Where an answer's Location leads from here, read as ParseAnswer reads.
  absl::StatusOr<Url> Resolve(std::string_view location) const;

  bool secure() const { return secure_; }  // https.
  // In lower case, without brackets and the root's dot. An IPv4 address in four decimal numbers, in
  // whatever way it was written (127.1, 0x7f000001, 2130706433).
  const std::string& host() const { return host_; }
  int port() const { return port_; }
  // From the path on, the fragment not included.
  std::string_view path_and_query() const;
  // To fetch it by: with all that it was signed with, and in ASCII alone.
  const std::string& text() const { return text_; }

 private:
  Url() = default;

  bool secure_ = false;
  std::string host_;
  int port_ = 0;
  std::string text_;
  size_t path_ = 0;  // In text_; its size if there is none.
};

// Whether a host's name may hold it.
bool IsHostCharacter(char c);

// With what its percent signs stand for; one that stands for nothing stays.
std::string PercentDecoded(std::string_view text);

}  // namespace finetune
