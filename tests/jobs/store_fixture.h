#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "server/base/check.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/store/sqlite_store.h"
#include "tests/base/manual_clock.h"

namespace finetune {

inline record::FineTuneRecord MakeJob(const std::string& id,
                                      pb::FineTune::State state = pb::FineTune::QUEUED) {
  record::FineTuneRecord record;
  record.mutable_fine_tune()->set_name(NameOf(id));
  record.mutable_fine_tune()->set_display_name("display of " + id);
  record.mutable_fine_tune()->set_base_model("FAST_FLUX");
  record.mutable_fine_tune()->set_upstream_id("up-" + id);
  record.mutable_fine_tune()->set_state(state);
  return record;
}

// A recorder on a store in memory, or on the store that a test gives it.
class JobsFixture {
 public:
  explicit JobsFixture(std::unique_ptr<Store> given = nullptr, Catalog::Options options = {},
                       Recorder::Options recording = {})
      : store(given ? std::move(given) : OpenSqliteStore(":memory:").value()),
        catalog(options, metrics),
        recorder(std::make_unique<Recorder>(recording, *store, catalog, clock, metrics)) {
    loaded = recorder->Load();
  }

  absl::Status Run(Recorder::Mutation mutation) {
    std::promise<absl::Status> done;
    recorder->Record(std::move(mutation),
                     [&](absl::Status status) { done.set_value(std::move(status)); });
    return done.get_future().get();
  }
  absl::Status Put(const record::FineTuneRecord& record) {
    return Run([&](Draft& draft) {
      draft.Put(record);
      return absl::OkStatus();
    });
  }

  Metrics metrics;
  ManualClock clock;
  std::unique_ptr<Store> store;
  Catalog catalog;
  std::unique_ptr<Recorder> recorder;
  absl::Status loaded;
};

}  // namespace finetune
