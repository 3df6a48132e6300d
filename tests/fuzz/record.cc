#include "server/jobs/record/catalog.h"
#include "server/jobs/record/version.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

// The bytes of one record of the store, as a bad disk may give them back.
void Fuzz(std::string_view input) {
  const VersionPtr version = ParseVersion(input);
  if (version == nullptr) return;
  version->active();
  const record::FineTuneRecord record = ToRecord(*version);
  // What has been read once reads back the same.
  const VersionPtr again = ParseVersion(SerialiseRecord(record));
  CHECK(again != nullptr);
  CHECK(again->id == version->id && again->revision == version->revision);
  CHECK(again->state == version->state && again->labels == version->labels);
  CHECK(again->marker == version->marker && again->request_id == version->request_id);
}

}  // namespace finetune
