#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/jobs/record/recorder.h"
#include "server/store/store.h"

namespace finetune {

// Reads the ledger part by part, so that commits do not wait for a long read. Thread-safe.
class SpendingReader {
 public:
  // Rows that one turn of the recorder reads.
  static constexpr int64_t kRowsAtOnce = 2'000;

  explicit SpendingReader(Recorder& recorder) : recorder_(recorder) {}

  // Passes the rows to `take`, in order, and ends with `done`, both on the recorder's thread. May
  // or may not include what is committed meanwhile. STORE_UNAVAILABLE if the ledger cannot be read.
  void Read(const Store::SpendingQuery& query, std::function<void(const SpendingRows&)> take,
            absl::AnyInvocable<void(absl::Status) &&> done);

 private:
  Recorder& recorder_;
};

}  // namespace finetune
