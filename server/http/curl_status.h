#pragma once

#include <curl/curl.h>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace finetune {

// What curl says of a request that failed, in words that show neither URL nor headers. `deadline`
// is the request's own. Not CURLE_OK; what has a cause that only the caller knows is the caller's
// to tell first.
absl::Status StatusOfCurl(CURLcode code, absl::Time deadline);

}  // namespace finetune
