#include "server/service/requests/page_token.h"

#include "server/service/requests/list_order.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

void Fuzz(std::string_view input) {
  const absl::StatusOr<std::string> place = DecodePageToken("epoch", "query", input);
  if (!place.ok()) {
    CheckRefusal(place.status());
    CHECK(ReasonOf(place.status()) == pb::ErrorReason::PAGE_TOKEN_INVALID);
  }
  if (input.empty() || input.size() > 1'000) return;
  const std::string token = EncodePageToken(input, input, input);
  CHECK(DecodePageToken(input, input, token).value_or("") == std::string(input));
  CHECK(!DecodePageToken("other", input, token).ok() || input == "other");
  CHECK(!DecodePageToken(input, "other", token).ok() || input == "other");
  for (const char* text : {"", "update_time,display_name desc"})
    (void)ListOrder::Parse(text)->VersionAt(input);
  if (const auto order = ListOrder::Parse(input); order.ok())
    CHECK(ListOrder::Parse(order->key().substr(0, order->key().size() - 1))->key() == order->key());
}

}  // namespace finetune
