#include "server/jobs/filter/filter.h"

#include <algorithm>

#include "tests/fuzz/fuzz.h"

namespace finetune {
namespace {

std::vector<VersionPtr> Versions() {
  std::vector<VersionPtr> versions;
  for (int i = 0; i < 3; ++i) {
    auto version = std::make_shared<FineTuneVersion>();
    version->id = std::to_string(i);
    version->state = i == 0 ? pb::FineTune::TRAINING : pb::FineTune::AVAILABLE;
    version->base_model = i == 1 ? "QWEN" : "FAST_FLUX";
    version->display_name = i == 2 ? "my cat" : "";
    version->creator = "art";
    version->create_time = absl::FromUnixSeconds(1'735'689'600 + i);
    version->labels = {{"team", i == 0 ? "art" : "shop"}, {"a", ""}};
    versions.push_back(std::move(version));
  }
  return versions;
}

}  // namespace

void Fuzz(std::string_view input) {
  static const auto* const versions = new std::vector<VersionPtr>(Versions());
  const absl::StatusOr<FilterPtr> filter = Filter::Parse(input);
  if (!filter.ok()) {
    CheckRefusal(filter.status());
    CHECK(ReasonOf(filter.status()) == pb::ErrorReason::INVALID_FIELD);
    return;
  }
  const std::optional<std::string> key = (*filter)->index_key();
  const FilterPtr mine = Filter::WithCreator(*filter, "art");
  for (const VersionPtr& version : *versions) {
    const bool matches = (*filter)->Matches(*version);
    CHECK(matches || !(*filter)->matches_all());
    // All of them are art's.
    CHECK(mine->Matches(*version) == matches);
    if (!matches || !key) continue;
    // A change must reach every filter that it concerns.
    const std::vector<std::string> keys = IndexKeysOf(*version);
    CHECK(std::find(keys.begin(), keys.end(), *key) != keys.end());
  }
  const absl::StatusOr<FilterPtr> again = Filter::Parse(input);
  CHECK(again.ok() && (*again)->key() == (*filter)->key());
}

}  // namespace finetune
