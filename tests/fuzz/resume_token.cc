#include "server/jobs/record/resume_token.h"

#include "tests/fuzz/fuzz.h"

namespace finetune {

void Fuzz(std::string_view input) {
  const absl::StatusOr<ResumePoint> point = DecodeResumeToken(input);
  if (!point.ok()) {
    CheckRefusal(point.status());
    CHECK(ReasonOf(point.status()) == pb::ErrorReason::RESUME_TOKEN_INVALID);
    return;
  }
  const absl::StatusOr<ResumePoint> again = DecodeResumeToken(EncodeResumeToken(*point));
  CHECK(again.ok() && *again == *point);
}

}  // namespace finetune
