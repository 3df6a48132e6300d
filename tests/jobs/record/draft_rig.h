#pragma once

#include <memory>
#include <optional>
#include <string>

#include "server/base/time_proto.h"
#include "server/jobs/record/commit_draft.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {

// One draft after another on a store and a catalog of their own, without a recorder.
class DraftRig : public ::testing::Test {
 protected:
  static constexpr absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

  DraftRig() {
    const auto state = store_->Load();
    EXPECT_TRUE(state.ok() && catalog_.Load(*state).ok());
    EXPECT_TRUE(store_->Begin(state->point, {}).ok());
    Next();
  }
  // What was drafted is in the catalog, and another draft begins.
  void Next(absl::Time now = kNow) {
    if (draft_) {
      catalog_.Apply(draft_->changes());
      for (const record::Intent& intent : draft_->intents()) unsettled_.Put(intent);
    }
    draft_.emplace(CommitDraft::Base{catalog_, *store_, unsettled_, reads_, refusal_, key_, owner_},
                   now);
  }
  static record::Intent Intent(const std::string& request_id, record::Intent::State state) {
    record::Intent intent;
    intent.set_caller("alice");
    intent.set_request_id(request_id);
    intent.set_fine_tune_id("job-" + request_id);
    intent.set_state(state);
    *intent.mutable_create_time() = ToProto(kNow);
    return intent;
  }
  void Put(const record::FineTuneRecord& record) {
    draft_->Put(record);
    ASSERT_TRUE(draft_->EndMutation(absl::OkStatus()).ok());
  }

  Metrics metrics_;
  std::unique_ptr<Store> store_ = OpenSqliteStore(":memory:").value();
  Catalog catalog_{{}, metrics_};
  IntentTable unsettled_;
  CommitDraft::Reads reads_;
  absl::Status refusal_;
  std::string key_ = "key", owner_ = "me";
  std::optional<CommitDraft> draft_;
};

}  // namespace finetune
