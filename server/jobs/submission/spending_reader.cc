#include "server/jobs/submission/spending_reader.h"

#include <utility>

namespace finetune {

void SpendingReader::Read(const Store::SpendingQuery& query,
                          std::function<void(const SpendingRows&)> take,
                          absl::AnyInvocable<void(absl::Status) &&> done) {
  Store::SpendingQuery part = query;
  part.limit = kRowsAtOnce;
  auto rows = std::make_shared<SpendingRows>();
  recorder_.Record(
      [part, rows](Draft& draft) {
        auto read = draft.ReadSpending(part);
        if (!read.ok()) return read.status();
        *rows = *std::move(read);
        return absl::OkStatus();
      },
      [this, query = part, rows, take = std::move(take),
       done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return std::move(done)(std::move(status));
        take(*rows);
        if (static_cast<int64_t>(rows->size()) < kRowsAtOnce)
          return std::move(done)(absl::OkStatus());
        query.after = rows->rbegin()->first;
        Read(query, std::move(take), std::move(done));
      });
}

}  // namespace finetune
