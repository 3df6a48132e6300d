#pragma once

#include <curl/curl.h>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace finetune {

// The error for a request that failed with `code`, which is not CURLE_OK, in words that show
// neither URL nor headers. `deadline` is the request's own. A caller that knows a more specific
// cause must check for that first.
absl::Status StatusOfCurl(CURLcode code, absl::Time deadline);

}  // namespace finetune
