#pragma once

#include <google/protobuf/struct.pb.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/key_set.h"

namespace finetune {

// Who may issue tokens, for whom, and how they are verified.
struct JwtIssuer {
  std::string issuer;
  std::vector<std::string> audiences;
  KeySet keys;
  absl::Duration leeway;
  // Asks for newer keys; true if they are on the way. Null if the keys cannot be fetched.
  std::function<bool()> look_again = nullptr;
};

// What a verified token says.
struct JwtClaims {
  const JwtIssuer* issuer = nullptr;
  std::string subject;
  // When it begins and ceases to be good, leeway included.
  absl::Time not_before;
  absl::Time good_until;
  google::protobuf::Struct all;
};

// Whether this could be a JWT at all: three parts between dots.
bool LooksLikeJwt(std::string_view token);

// Verifies a token in the compact form of RFC 7515: its signature by a key of its issuer, with the
// algorithm of that key, then `iss`, `aud`, `exp` (required) and `nbf`. INVALID_ARGUMENT with the
// cause, which quotes nothing of the token; UNAVAILABLE if its key is still being fetched.
absl::StatusOr<JwtClaims> VerifyJwt(std::string_view token, const std::vector<JwtIssuer>& issuers,
                                    absl::Time now);

// Whether the claim is this value, or a list that holds it, by the rules in policy.proto: booleans
// and whole numbers compare as they are written, `scope` and `scp` word by word, and a name with
// dots may also be a path.
bool HasClaim(const google::protobuf::Struct& claims, const std::string& name,
              std::string_view value);

}  // namespace finetune
