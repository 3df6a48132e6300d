#include <sys/mman.h>
#include <unistd.h>

#include "client/cpp/weights_check.h"
#include "server/base/weights_head.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

// What a download brought.
void Fuzz(std::string_view input) {
  const absl::Status start = client::CheckWeightsStart(input.substr(0, kTellingBytes));
  static const int file = memfd_create("weights", MFD_CLOEXEC);
  CHECK(ftruncate(file, 0) == 0);
  CHECK(pwrite(file, input.data(), input.size(), 0) == static_cast<ssize_t>(input.size()));
  const absl::Status whole = client::CheckWeightsFile(file, "cats.safetensors");
  for (const absl::Status& status : {start, whole}) {
    if (status.ok()) continue;
    CheckRefusal(status);
    CHECK(client::IsNoWeights(status));
  }
  // What is good as a whole begins well.
  CHECK(start.ok() || !whole.ok());
}

}  // namespace finetune
