#pragma once

#include "server/segmind/job_fields.h"
#include "server/segmind/json_job.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

// What every job read from Segmind's JSON promises.
inline void CheckJob(const UpstreamJob& job) {
  CHECK(!job.id.empty() && IsValid(job.id) && IsValid(job.request_id) && IsValid(job.status));
  CHECK(job.request_id != job.id);
  for (const auto* text : {&job.name, &job.error_message, &job.cloud_storage_url})
    if (*text) CHECK(IsValid(**text) && (*text)->size() <= kMaxJsonString);
  for (const JobField& row : JobFields()) {
    const auto* member = std::get_if<TextMember>(&row.member);
    if (member == nullptr) continue;
    const std::string& text = (job.fields.*member->get)();
    CHECK(IsValid(text) && text.size() <= kMaxJsonString);
  }
  // Protobuf refuses what is not valid UTF-8 or is nested too deeply.
  if (job.parameters) {
    pb::TrainingParameters copy;
    CHECK(copy.ParseFromString(job.parameters->SerializeAsString()));
    SubmitBody(
        [&] {
          pb::FineTune fine_tune;
          *fine_tune.mutable_parameters() = copy;
          return fine_tune;
        }(),
        "name");
  }
  if (job.model_information) {
    google::protobuf::Struct copy;
    CHECK(copy.ParseFromString(job.model_information->SerializeAsString()));
  }
}

}  // namespace finetune
