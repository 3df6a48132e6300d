#include "server/http/curl_status.h"

#include "server/base/clock.h"

namespace finetune {

absl::Status StatusOfCurl(CURLcode code, absl::Time deadline) {
  // Never curl's own detailed message: it may show the URL.
  const char* const text = curl_easy_strerror(code);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      // Otherwise it was the time limit for connecting.
      if (SteadyNow() + absl::Milliseconds(5) >= deadline)
        return absl::DeadlineExceededError("no answer before the deadline");
      return absl::UnavailableError("no connection in time");
    case CURLE_PARTIAL_FILE:
      return absl::DataLossError("the answer is shorter than announced");
    case CURLE_UNSUPPORTED_PROTOCOL:
      // Url lets no other scheme through: what answered does not speak HTTP, or too new a one.
      return absl::UnavailableError("what answers there does not speak HTTP");
    case CURLE_URL_MALFORMAT:
      return absl::InvalidArgumentError("the URL cannot be used");
    case CURLE_WRITE_ERROR:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
      return absl::InternalError(text);
    default:
      return absl::UnavailableError(text);
  }
}

}  // namespace finetune
