#include "server/segmind/json_job.h"
#include "tests/fuzz/checked_job.h"

namespace finetune {

void Fuzz(std::string_view input) {
  JsonParser parser;
  const JsonValue* value = parser.Parse(input);
  if (value == nullptr) return;
  if (const std::optional<UpstreamJob> job = JobInAnswer(*value, Scrubber())) CheckJob(*job);
}

}  // namespace finetune
