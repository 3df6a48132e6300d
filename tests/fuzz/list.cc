#include <map>

#include "server/segmind/list_reader.h"
#include "tests/fuzz/checked_job.h"

namespace finetune {

// The input is several lists, one a line: after each, what the deltas add up to is what a reader
// that sees only this list says.
void Fuzz(std::string_view input) {
  ListReader reader;
  std::map<std::string, std::string> known;
  while (!input.empty()) {
    const size_t end = std::min(input.find('\n'), input.size());
    const std::string_view body = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));

    ListReader fresh;
    const absl::StatusOr<ListDelta> whole = fresh.Read(body);
    const absl::StatusOr<ListDelta> delta = reader.Read(body);
    CHECK(whole.ok() == delta.ok());
    if (!delta.ok()) {
      CHECK(ReasonOf(delta.status()) == pb::ErrorReason::UPSTREAM_MALFORMED);
      continue;
    }
    for (const std::string& id : delta->gone) known.erase(id);
    for (const UpstreamJob& job : delta->changed) {
      CheckJob(job);
      known[job.id] = job.status;
    }
    std::map<std::string, std::string> want;
    for (const UpstreamJob& job : whole->changed) want[job.id] = job.status;
    CHECK(known == want);
    CHECK(whole->total == delta->total && whole->skipped == delta->skipped);
    CHECK(whole->nameless == delta->nameless && whole->nameless <= whole->skipped);

    // An id that is read alone is the job's.
    UpstreamList pages;
    pages.bodies = {std::string(body)};
    ListReader sliced;
    const absl::StatusOr<ListDelta> none = sliced.Read(pages, 0);
    CHECK(none.ok() && none->skipped == whole->skipped);
    for (const UpstreamJob& job : sliced.MoreChanged(none->more_changed))
      CHECK(want.erase(job.id) == 1);
    CHECK(want.empty());
  }
}

}  // namespace finetune
