#include "server/service/requests/page_token.h"

#include "tests/fuzz/fuzz.h"

namespace finetune {

void Fuzz(std::string_view input) {
  // Nobody guesses one.
  const absl::StatusOr<uint64_t> position = DecodePageToken("epoch", "query", input);
  CheckRefusal(position.status());
  CHECK(ReasonOf(position.status()) == pb::ErrorReason::PAGE_TOKEN_INVALID);

  const uint64_t number = input.size() * 0x9e3779b97f4a7c15;
  const std::string token = EncodePageToken(input, input, number);
  CHECK(DecodePageToken(input, input, token).value_or(number + 1) == number);
  CHECK(!DecodePageToken("other", input, token).ok() || input == "other");
  CHECK(!DecodePageToken(input, "other", token).ok() || input == "other");
}

}  // namespace finetune
