#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace finetune {

// What the answers of Segmind's storages mean to a caller. Of a body, whose beginning is enough,
// only the storage's own code is shown (`<Code>AccessDenied</Code>`): the rest may hold signatures.

// A read was answered with `code`. UNAVAILABLE / UPSTREAM_UNAVAILABLE with RetryInfo.
absl::Status StorageError(int code, std::string_view body);

// A PUT of `size` bytes was answered with `code`. UNAVAILABLE / UPSTREAM_UNAVAILABLE with RetryInfo
// if the same may succeed later; INVALID_ARGUMENT / INVALID_FIELD if it is too large; else INTERNAL
// / UPSTREAM_MALFORMED.
absl::Status UploadError(int code, std::string_view body, int64_t size);

// Whether a newly signed URL may succeed.
bool MayNeedAnotherUrl(int code, std::string_view body);

// From a stream's end that is not OK to a typed error.
absl::Status StreamError(const absl::Status& status);

// UNAVAILABLE / UPSTREAM_UNAVAILABLE with RetryInfo.
absl::Status StorageUnavailable(absl::string_view message);

}  // namespace finetune
