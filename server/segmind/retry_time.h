#pragma once

#include <optional>

#include "absl/time/time.h"
#include "server/http/http_client.h"

namespace finetune {

// What the clock of whoever answered said, by the `Date` header.
std::optional<absl::Time> DateOf(const HttpResponse& response);

// How old the answer is: what a cache between says of its copy, by the `Age` header. Zero if it
// comes from Segmind itself, or from a cache that does not say.
absl::Duration AgeOf(const HttpResponse& response);

// How long to wait before the next call, as an answer says: the longer one of Retry-After (seconds,
// or a date) and x-rate-limit-reset-at-utc, whose format is not documented (a time in any form, or
// seconds from now). A date counts from the answer's own `Date`, if it has one. Nullopt if there is
// neither, or if the time is over. What is more than a day is nobody's plan: an hour then.
std::optional<absl::Duration> RetryDelayIn(const HttpResponse& response, absl::Time now);

}  // namespace finetune
