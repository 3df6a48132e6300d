#include "server/access/key_set.h"

#include "tests/fuzz/fuzz.h"

namespace finetune {

void Fuzz(std::string_view input) {
  const absl::StatusOr<KeySet> keys = KeySet::Parse(std::string(input));
  if (!keys.ok()) return CheckRefusal(keys.status());
  CHECK(!keys->empty());
  for (const JwtAlgorithm algorithm : {JwtAlgorithm::kRs256, JwtAlgorithm::kEs256}) {
    CHECK(!keys->Verify(algorithm, "", "text", std::string(64, 'x')));
    CHECK(!keys->Verify(algorithm, "k1", "text", ""));
  }
}

}  // namespace finetune
