#pragma once

#include <optional>

#include "absl/time/time.h"
#include "server/http/http_client.h"

namespace finetune {

// What the clock of the server that answered said, by the `Date` header.
std::optional<absl::Time> DateOf(const HttpResponse& response);

// How old the answer is, according to the `Age` header of a cache on the way. Zero if it comes from
// Segmind itself, or from a cache that does not say.
absl::Duration AgeOf(const HttpResponse& response);

// How long to wait before the next call, according to an answer: the longer of Retry-After
// (seconds, or a date) and x-rate-limit-reset-at-utc, whose format is not documented (a time in any
// form, or seconds from now). A date counts from the answer's own `Date`, if it has one. Nullopt if
// there is neither, or if the time is over. More than a day cannot be meant, and counts as an hour.
std::optional<absl::Duration> RetryDelayIn(const HttpResponse& response, absl::Time now);

}  // namespace finetune
