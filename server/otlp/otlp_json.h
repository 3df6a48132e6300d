#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "server/base/trace.h"

namespace finetune {

// OTLP's ExportTraceServiceRequest in its JSON form (opentelemetry.io/docs/specs/otlp): ids in
// hexadecimal, 64-bit numbers as text. Long texts are cut and invalid UTF-8 is replaced.
std::string ExportRequestJson(const std::vector<std::pair<std::string, std::string>>& resource,
                              absl::Span<const SpanRecord> spans);

// How many spans an ExportTraceServiceResponse says were refused; 0 if it cannot be read.
int64_t RejectedSpans(std::string_view response);

}  // namespace finetune
