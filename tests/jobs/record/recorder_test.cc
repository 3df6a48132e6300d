#include "server/jobs/record/recorder.h"

#include <filesystem>

#include "server/base/error.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "tests/base/span_collector.h"
#include "tests/jobs/passing_store.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

// A store that fails as it is told to.
class FlakyStore : public PassingStore {
 public:
  using PassingStore::PassingStore;

  CommitOutcome Commit(const StoreBatch& batch) override {
    ++commits;
    return failure.ok() ? PassingStore::Commit(batch) : CommitOutcome::Of(failure);
  }
  absl::Status CheckWritable() override { return failure; }

  absl::Status failure;
  int commits = 0;
};

struct FlakyFixture : JobsFixture {
  FlakyFixture()
      : JobsFixture(std::make_unique<FlakyStore>(OpenSqliteStore(":memory:").value())),
        flaky(static_cast<FlakyStore&>(*store)) {}
  FlakyStore& flaky;
};

record::Intent MakeIntent(const std::string& request_id, record::Intent::State state) {
  record::Intent intent;
  intent.set_caller("c");
  intent.set_request_id(request_id);
  intent.set_marker("m-" + request_id);
  intent.set_state(state);
  return intent;
}

TEST(Recorder, SetsRevisionEtagAndTimes) {
  JobsFixture f;
  ASSERT_TRUE(f.loaded.ok());
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  record::FineTuneRecord made = ToRecord(*f.catalog.Find("a"));
  EXPECT_EQ(made.fine_tune().revision(), 1u);
  EXPECT_EQ(made.first_revision(), 1u);
  EXPECT_THAT(made.fine_tune().etag(), StartsWith("1-"));
  EXPECT_EQ(FromProto(made.fine_tune().update_time()), f.clock.Now());

  f.clock.Advance(absl::Seconds(5));
  ASSERT_TRUE(f.Put(MakeJob("b")).ok());
  ASSERT_TRUE(f.Put(MakeJob("a", pb::FineTune::TRAINING)).ok());
  record::FineTuneRecord changed = ToRecord(*f.catalog.Find("a"));
  EXPECT_EQ(changed.fine_tune().revision(), 3u);
  EXPECT_EQ(changed.first_revision(), 1u);
  EXPECT_NE(changed.fine_tune().etag(), made.fine_tune().etag());
  EXPECT_EQ(FromProto(changed.fine_tune().update_time()), f.clock.Now());
  EXPECT_EQ(f.catalog.FindUpstream("up-a"), f.catalog.Find("a"));
}

TEST(Recorder, ARecordThatSaysNothingNewIsNoChange) {
  FlakyFixture f;
  record::FineTuneRecord job = MakeJob("a");
  job.set_read(100);
  ASSERT_TRUE(f.Put(job).ok());
  EXPECT_EQ(f.flaky.commits, 1);
  job.set_read(200);
  *job.mutable_fine_tune()->mutable_observe_time() = ToProto(absl::FromUnixSeconds(200));
  ASSERT_TRUE(f.Put(job).ok());
  EXPECT_EQ(f.flaky.commits, 1);
  EXPECT_EQ(f.catalog.view()->revision(), 1u);
  uint64_t read = 0;
  ASSERT_TRUE(f.Run([&](Draft& draft) {
                 read = draft.Find("a")->read();
                 return absl::OkStatus();
               }).ok());
  EXPECT_EQ(read, 200u) << "so that an older read is known as stale";
}

TEST(Recorder, AnErrorDiscardsOnlyItsOwnMutation) {
  FlakyFixture f;
  std::promise<void> blocked;
  std::promise<absl::Status> results[3];
  const auto done = [&](int i) {
    return [&results, i](absl::Status status) { results[i].set_value(std::move(status)); };
  };
  // The first holds the thread, so that the next three share a batch.
  f.recorder->Record(
      [&](Draft&) {
        blocked.get_future().wait();
        return absl::OkStatus();
      },
      [](absl::Status) {});
  f.recorder->Record(
      [](Draft& draft) {
        draft.Put(MakeJob("a"));
        return absl::OkStatus();
      },
      done(0));
  f.recorder->Record(
      [](Draft& draft) {
        EXPECT_TRUE(draft.Find("a").has_value()) << "an earlier mutation of the batch is seen";
        draft.Put(MakeJob("a", pb::FineTune::FAILED));
        draft.Put(MakeJob("b"));
        draft.PutIntent(MakeIntent("r", record::Intent::PREPARED));
        return absl::NotFoundError("no");
      },
      done(1));
  f.recorder->Record(
      [](Draft& draft) {
        EXPECT_FALSE(draft.Find("b").has_value());
        EXPECT_FALSE(draft.FindUpstream("up-b").has_value());
        EXPECT_TRUE(draft.UnsettledIntents().empty());
        draft.Put(MakeJob("a", pb::FineTune::TRAINING));
        draft.Put(MakeJob("c"));
        return absl::OkStatus();
      },
      done(2));
  blocked.set_value();
  EXPECT_TRUE(results[0].get_future().get().ok());
  EXPECT_TRUE(absl::IsNotFound(results[1].get_future().get()));
  EXPECT_TRUE(results[2].get_future().get().ok());
  EXPECT_EQ(f.flaky.commits, 1) << "one commit for all";
  auto changes = f.catalog.ChangesAfter(0);
  ASSERT_TRUE(changes.has_value());
  ASSERT_EQ(changes->size(), 3u) << "two mutations that change one job make two changes";
  EXPECT_EQ((*changes)[0]->after()->state, pb::FineTune::QUEUED);
  EXPECT_EQ((*changes)[0]->before(), nullptr);
  EXPECT_EQ((*changes)[1]->after()->state, pb::FineTune::TRAINING);
  EXPECT_EQ((*changes)[1]->before(), (*changes)[0]->after());
  EXPECT_EQ((*changes)[2]->after()->id, "c");
}

TEST(Recorder, PutsOfOneJobInOneMutationMakeOneChange) {
  JobsFixture f;
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 draft.Put(MakeJob("a"));
                 draft.Put(MakeJob("a", pb::FineTune::TRAINING));
                 return absl::OkStatus();
               }).ok());
  EXPECT_EQ(f.catalog.view()->revision(), 1u);
  EXPECT_EQ(f.catalog.Find("a")->state, pb::FineTune::TRAINING);
}

TEST(Recorder, NothingOfAFailedCommitIsVisibleAndTheNextMaySucceed) {
  FlakyFixture f;
  f.flaky.failure = absl::UnavailableError("disk full");
  absl::Status status = f.Run([](Draft& draft) {
    draft.Put(MakeJob("a"));
    draft.PutIntent(MakeIntent("r", record::Intent::PREPARED));
    return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_TRUE(RetryDelayOf(status).has_value());
  EXPECT_FALSE(f.recorder->store_status().ok());
  EXPECT_EQ(f.catalog.Find("a"), nullptr);
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 EXPECT_TRUE(draft.UnsettledIntents().empty());
                 return absl::OkStatus();
               }).ok())
      << "what writes nothing needs no store";

  std::promise<absl::Status> probed;
  f.recorder->Probe([&](absl::Status probe) { probed.set_value(std::move(probe)); });
  EXPECT_EQ(ReasonOf(probed.get_future().get()), pb::ErrorReason::STORE_UNAVAILABLE);
  f.flaky.failure = absl::OkStatus();
  probed = {};
  f.recorder->Probe([&](absl::Status probe) { probed.set_value(std::move(probe)); });
  EXPECT_TRUE(probed.get_future().get().ok());
  EXPECT_TRUE(f.recorder->store_status().ok());
  EXPECT_TRUE(f.Put(MakeJob("a")).ok());
  EXPECT_EQ(f.catalog.Find("a")->revision, 1u);
}

// As a list brings them, which says no job's age.
TEST(Recorder, OfJobsThatAreNewAtOnceTheFirstCountsAsTheNewest) {
  JobsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("known")).ok());
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 for (const char* id : {"newest", "known", "middle", "oldest"})
                   draft.Put(MakeJob(id, pb::FineTune::TRAINING));
                 return absl::OkStatus();
               }).ok());
  std::vector<std::string> listed;
  const auto& jobs = f.catalog.view()->by_create_time();
  jobs.Descend(jobs.size(), [&](const FineTuneVersion& job) {
    listed.push_back(job.id);
    return true;
  });
  EXPECT_THAT(listed, ElementsAre("newest", "middle", "oldest", "known"));
}

TEST(Recorder, ForgetsAJobAndTellsThatItLeft) {
  JobsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  ASSERT_TRUE(f.Put(MakeJob("b")).ok());
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 draft.Forget("a");
                 EXPECT_FALSE(draft.Find("a").has_value());
                 EXPECT_FALSE(draft.FindUpstream("up-a").has_value());
                 draft.Forget("nobody");
                 return absl::OkStatus();
               }).ok());
  EXPECT_EQ(f.catalog.Find("a"), nullptr);
  EXPECT_EQ(f.catalog.FindUpstream("up-a"), nullptr);
  EXPECT_EQ(f.catalog.view()->size(), 1u);
  EXPECT_EQ(f.catalog.view()->revision(), 3u);
  const ChangePtr change = f.catalog.ChangesAfter(2)->front();
  EXPECT_TRUE(change->forgotten());
  EXPECT_EQ(change->before()->id, "a");
  EXPECT_EQ(change->after()->revision, 3u);
  // It may come back, as a new one; and go and come within one commit.
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  EXPECT_EQ(f.catalog.Find("a")->first_revision, 4u);
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 draft.Forget("a");
                 draft.Put(MakeJob("a", pb::FineTune::TRAINING));
                 return absl::OkStatus();
               }).ok());
  EXPECT_EQ(f.catalog.Find("a")->state, pb::FineTune::TRAINING);
  Metrics metrics;
  Catalog loaded({}, metrics);
  ASSERT_TRUE(loaded.Load(f.store->Load().value()).ok());
  EXPECT_EQ(loaded.view()->size(), 2u);
}

TEST(Recorder, ForgetsLostJobsOfOthersAfterATime) {
  JobsFixture f(nullptr, {}, {.forget_lost_after = absl::Hours(24)});
  const auto lost = [](const std::string& id) { return MakeJob(id, pb::FineTune::LOST); };
  ASSERT_TRUE(f.Put(lost("foreign")).ok());
  record::FineTuneRecord own = lost("own");
  own.mutable_fine_tune()->set_creator("alice");
  ASSERT_TRUE(f.Put(own).ok());
  ASSERT_TRUE(f.Put(MakeJob("there", pb::FineTune::AVAILABLE)).ok());
  f.clock.Advance(absl::Hours(23));
  ASSERT_TRUE(f.Put(lost("later")).ok());
  EXPECT_EQ(f.catalog.view()->size(), 4u);
  f.clock.Advance(absl::Hours(2));
  // Any turn does it, also one that has nothing else to write.
  ASSERT_TRUE(f.Run([](Draft&) { return absl::OkStatus(); }).ok());
  EXPECT_EQ(f.catalog.Find("foreign"), nullptr);
  EXPECT_EQ(f.catalog.view()->size(), 3u);
}

// A record that lacks commits knows not what was submitted.
TEST(Recorder, TakesNoNewSubmissionWhileTheRecordLacksCommits) {
  class LostStore : public PassingStore {
   public:
    using PassingStore::PassingStore;
    absl::StatusOr<StoreState> Load() override {
      auto state = PassingStore::Load();
      state->lost = "commits are missing";
      return state;
    }
  };
  JobsFixture f(std::make_unique<LostStore>(OpenSqliteStore(":memory:").value()));
  const absl::Status refused = f.Run([](Draft& draft) {
    draft.PutIntent(MakeIntent("r", record::Intent::PREPARED));
    return absl::OkStatus();
  });
  EXPECT_EQ(ReasonOf(refused), pb::ErrorReason::STORE_UNAVAILABLE) << refused;
  EXPECT_TRUE(f.Put(MakeJob("a")).ok()) << "all else goes on";
}

TEST(Recorder, AnEtagNamesTheEra) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", MakeUuid(), ".db");
  std::string first;
  {
    JobsFixture f(OpenSqliteStore(path).value());
    ASSERT_TRUE(f.Put(MakeJob("a")).ok());
    std::filesystem::copy_file(path, path + ".copy");
    first = ToRecord(*f.catalog.Find("a")).fine_tune().etag();
  }
  // The same revision in another era: a copy from before it was put back.
  std::filesystem::remove(path + "-mark");
  std::filesystem::rename(path + ".copy", path);
  JobsFixture f(OpenSqliteStore(path).value());
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  EXPECT_EQ(f.catalog.Find("a")->revision, 1u);
  EXPECT_NE(ToRecord(*f.catalog.Find("a")).fine_tune().etag(), first);
}

TEST(Recorder, FindsIntentsInEveryState) {
  JobsFixture f;
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 draft.PutIntent(MakeIntent("1", record::Intent::PREPARED));
                 draft.PutIntent(MakeIntent("2", record::Intent::UNKNOWN));
                 draft.PutIntent(MakeIntent("3", record::Intent::ACCEPTED));
                 return absl::OkStatus();
               }).ok());
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 EXPECT_EQ(draft.UnsettledIntents().size(), 2u);
                 EXPECT_EQ((*draft.FindIntent("c", "3"))->state(), record::Intent::ACCEPTED);
                 EXPECT_EQ(*draft.FindIntent("other", "3"), std::nullopt);
                 EXPECT_EQ(draft.FindIntentByMarker("m-2")->request_id(), "2");
                 EXPECT_FALSE(draft.FindIntentByMarker("m-3").has_value()) << "it is settled";
                 EXPECT_FALSE(draft.FindIntentByMarker("").has_value());
                 draft.PutIntent(MakeIntent("2", record::Intent::ACCEPTED));
                 EXPECT_FALSE(draft.FindIntentByMarker("m-2").has_value());
                 draft.DeleteIntent("c", "1");
                 EXPECT_EQ(*draft.FindIntent("c", "1"), std::nullopt);
                 EXPECT_TRUE(draft.UnsettledIntents().empty());
                 return absl::OkStatus();
               }).ok());
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 EXPECT_TRUE(draft.UnsettledIntents().empty());
                 EXPECT_EQ(*draft.FindIntent("c", "1"), std::nullopt);
                 EXPECT_EQ((*draft.FindIntent("c", "2"))->state(), record::Intent::ACCEPTED);
                 return absl::OkStatus();
               }).ok());
}

TEST(Recorder, FindsAJobByItsCurrentUpstreamNamesOnly) {
  JobsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 record::FineTuneRecord job = *draft.FindUpstream("up-a");
                 job.mutable_fine_tune()->set_upstream_id("new");
                 job.set_upstream_request_id("request");
                 draft.Put(job);
                 EXPECT_FALSE(draft.FindUpstream("up-a").has_value());
                 EXPECT_TRUE(draft.FindUpstream("new").has_value());
                 EXPECT_TRUE(draft.FindUpstream("request").has_value());
                 return absl::OkStatus();
               }).ok());
  EXPECT_EQ(f.catalog.FindUpstream("up-a"), nullptr);
  EXPECT_EQ(f.catalog.FindUpstream("request")->id, "a");
}

TEST(Recorder, ARecordWithoutAUsableNameFailsItsMutation) {
  JobsFixture f;
  EXPECT_TRUE(absl::IsInternal(f.Put(MakeJob("a/b"))));
  EXPECT_TRUE(f.Put(MakeJob("a")).ok());
}

TEST(Recorder, ListenersHearAfterTheCatalogAndBeforeDone) {
  struct Listener : CommitListener {
    explicit Listener(Catalog& c) : catalog(c) {}
    void OnCommitted(absl::Span<const ChangePtr> changes) override {
      for (const ChangePtr& change : changes) revisions.push_back(change->revision());
      EXPECT_EQ(catalog.view()->revision(), revisions.back());
    }
    Catalog& catalog;
    std::vector<uint64_t> revisions;
  };
  JobsFixture f;
  Listener listener(f.catalog);
  f.recorder->AddListener(&listener);
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  EXPECT_THAT(listener.revisions, ElementsAre(1));
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 draft.Put(MakeJob("b"));
                 draft.Put(MakeJob("c"));
                 return absl::OkStatus();
               }).ok());
  EXPECT_THAT(listener.revisions, ElementsAre(1, 2, 3));
}

TEST(Recorder, StopFinishesWhatIsQueuedAndRefusesTheRest) {
  JobsFixture f;
  std::atomic<int> done = 0;
  for (int i = 0; i < 1000; ++i) {
    f.recorder->Record(
        [i](Draft& draft) {
          draft.Put(MakeJob(std::to_string(i)));
          return absl::OkStatus();
        },
        [&](absl::Status status) { done += status.ok(); });
  }
  f.recorder->Stop();
  EXPECT_EQ(done, 1000);
  EXPECT_EQ(f.catalog.view()->size(), 1000u);
  EXPECT_TRUE(absl::IsCancelled(f.Put(MakeJob("late"))));
  f.recorder->Stop();
}

TEST(Recorder, ARestartShowsTheSame) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", MakeUuid(), "/deep/store.db");
  std::string epoch;
  std::string token;
  {
    JobsFixture f(OpenSqliteStore(path).value());
    ASSERT_TRUE(f.Run([](Draft& draft) {
                   for (int i = 0; i < 500; ++i) draft.Put(MakeJob(std::to_string(i)));
                   return absl::OkStatus();
                 }).ok());
    ASSERT_TRUE(f.Put(MakeJob("7", pb::FineTune::AVAILABLE)).ok());
    ASSERT_TRUE(f.Run([](Draft& draft) {
                   draft.PutIntent(MakeIntent("r", record::Intent::UNKNOWN));
                   return absl::OkStatus();
                 }).ok());
    epoch = f.catalog.epoch();
    token = (*f.catalog.ChangesAfter(500))[0]->resume_token();
  }
  JobsFixture f(OpenSqliteStore(path).value());
  ASSERT_TRUE(f.loaded.ok()) << f.loaded;
  EXPECT_EQ(f.catalog.epoch(), epoch);
  EXPECT_EQ(f.catalog.view()->revision(), 501u);
  EXPECT_EQ(f.catalog.view()->size(), 500u);
  EXPECT_EQ(f.catalog.view()->active(), 499u);
  auto changes = f.catalog.ChangesAfter(500);
  ASSERT_TRUE(changes.has_value());
  EXPECT_TRUE(f.catalog.HasPoint(*DecodeResumeToken(token))) << "though this is another era";
  EXPECT_EQ((*changes)[0]->before()->state, pb::FineTune::QUEUED);
  EXPECT_EQ(f.catalog.window_start(), 0u);
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 EXPECT_EQ(draft.UnsettledIntents().size(), 1u);
                 return absl::OkStatus();
               }).ok());
  std::filesystem::remove_all(std::filesystem::path(path).parent_path().parent_path());
}

TEST(Recorder, ACommitIsASpanOfEachTraceThatHasSomethingInIt) {
  FlakyFixture f;
  SpanCollector spans;
  Tracer tracer({}, spans, f.clock);
  const Span root = tracer.Start(f.clock.Now(), SpanKind::kServer, "root", {});
  const auto record = [&](Recorder::Mutation mutation) {
    std::promise<absl::Status> done;
    f.recorder->Record(
        std::move(mutation), [&](absl::Status status) { done.set_value(std::move(status)); },
        root.context());
    return done.get_future().get();
  };
  const auto put = [](Draft& draft) {
    draft.Put(MakeJob("a"));
    draft.PutIntent(MakeIntent("r", record::Intent::PREPARED));
    return absl::OkStatus();
  };
  ASSERT_TRUE(record(put).ok());
  auto commits = spans.Named("store commit");
  ASSERT_EQ(commits.size(), 1u);
  EXPECT_EQ(commits[0].parent_id, root.context().span_id);
  EXPECT_EQ(AttributeOf(commits[0], "db.system"), "sqlite");
  EXPECT_FALSE(commits[0].failed);

  // Nothing to write, and nothing written.
  ASSERT_TRUE(record([](Draft&) { return absl::OkStatus(); }).ok());
  EXPECT_FALSE(record([&](Draft& draft) {
                 EXPECT_TRUE(put(draft).ok());
                 return absl::NotFoundError("no");
               }).ok());
  // Another's commit is none of this trace.
  ASSERT_TRUE(f.Put(MakeJob("b")).ok());
  EXPECT_EQ(spans.Named("store commit").size(), 1u);

  f.flaky.failure = absl::UnavailableError("disk full");
  EXPECT_FALSE(record([](Draft& draft) {
                 draft.Put(MakeJob("c"));
                 return absl::OkStatus();
               }).ok());
  commits = spans.Named("store commit");
  ASSERT_EQ(commits.size(), 2u);
  EXPECT_TRUE(commits[1].failed);
  EXPECT_EQ(commits[1].message, "disk full");
}

}  // namespace
}  // namespace finetune
