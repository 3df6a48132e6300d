// Limits on money: what they let through, give back, and remember.

#include <filesystem>
#include <random>

#include "server/base/log.h"
#include "tests/jobs/passing_store.h"
#include "tests/jobs/rig.h"

namespace finetune {
namespace {

// A store that cannot count.
class UncountingStore : public PassingStore {
 public:
  UncountingStore() : PassingStore(OpenSqliteStore(":memory:").value()) {}
  absl::StatusOr<CreateCount> CountCreates(const std::string&, absl::Time) override {
    return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE, "disk gone");
  }
};

class Spendings : public Rig {
 protected:
  CreateReply Spend(const std::string& request_id, SpendingLimits limits,
                    const std::string& caller = "alice") {
    CreateReply reply;
    process_->submitter.Create({.caller = caller,
                                .limits = limits,
                                .request_id = request_id,
                                .fine_tune = Request(request_id),
                                .deadline = clock_.Now() + absl::Seconds(10)},
                               reply.Taker());
    return reply;
  }
  absl::Status SpendNow(const std::string& request_id, SpendingLimits limits,
                        const std::string& caller = "alice") {
    CreateReply reply = Spend(request_id, limits, caller);
    EXPECT_TRUE(RunUntil([&] { return reply.ready(); }));
    return reply.get().status();
  }
  Spending Spent(const std::string& caller = "alice") {
    Reply<absl::StatusOr<Forecast>> reply;
    process_->submitter.Foresee({.caller = caller, .limits = {.active_jobs = 1'000'000}},
                                reply.Taker());
    EXPECT_TRUE(RunUntil([&] { return reply.ready(); }));
    return reply.get()->spending;
  }
};

TEST_F(Spendings, LetAsManyThroughAsTheBudgetHas) {
  StartProcess();
  std::vector<CreateReply> replies;
  for (int i = 0; i < 60; ++i)
    replies.push_back(Spend(absl::StrCat("request-", i), {.creates_per_day = 7}));
  const auto all_ready = [&] {
    return std::all_of(replies.begin(), replies.end(), [](auto& r) { return r.ready(); });
  };
  ASSERT_TRUE(RunUntil(all_ready));
  int made = 0;
  for (const CreateReply& reply : replies) {
    const auto answer = reply.get();
    made += answer.ok() ? 1 : 0;
    if (!answer.ok()) EXPECT_EQ(ReasonOf(answer.status()), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  }
  EXPECT_EQ(made, 7);
  EXPECT_EQ(segmind_.taken(), 7);
  EXPECT_EQ(segmind_.posts(), 7);
  EXPECT_EQ(Spent().creates.count, 7);
  EXPECT_TRUE(SpendNow("another", {.creates_per_day = 7}, "bob").ok()) << "it has its own";
}

TEST_F(Spendings, SayWhenTheBudgetHasRoomAgain) {
  StartProcess();
  ASSERT_TRUE(SpendNow("first", {.creates_per_day = 1}).ok());
  const absl::Status refused = SpendNow("second", {.creates_per_day = 1});
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  const absl::Duration delay = RetryDelayOf(refused).value_or(absl::ZeroDuration());
  EXPECT_GT(delay, absl::Hours(23));
  EXPECT_LE(delay, absl::Hours(24));
  clock_.Advance(delay);
  EXPECT_TRUE(SpendNow("second", {.creates_per_day = 1}).ok());
}

TEST_F(Spendings, GiveBackWhatMadeNoJob) {
  StartProcess();
  segmind_.NextSubmits({Fate::kRefused, Fate::kRefused});
  for (const char* id : {"refused", "refused-too"})
    EXPECT_EQ(ReasonOf(SpendNow(id, {.creates_per_day = 1})), pb::ErrorReason::UPSTREAM_REJECTED);
  EXPECT_EQ(Spent().creates.count, 0);
  // Lost on its way: unknown, and counted, until it is known that it did not arrive.
  segmind_.NextSubmits({Fate::kLostBefore});
  CreateReply lost = Spend("lost", {.creates_per_day = 1});
  ASSERT_TRUE(RunUntil([&] { return lost.ready(); }));
  if ((*lost.get())->state == pb::FineTune::SUBMIT_UNKNOWN)
    EXPECT_EQ(ReasonOf(SpendNow("meanwhile", {.creates_per_day = 1})),
              pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  ASSERT_TRUE(RunUntil([&] { return Spent().creates.count == 0; }));
  EXPECT_TRUE(SpendNow("good", {.creates_per_day = 1}).ok());
  EXPECT_EQ(segmind_.taken(), 1);
}

TEST_F(Spendings, DoNotCountARepeatedRequestAgain) {
  StartProcess();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(SpendNow("same", {.creates_per_day = 1}).ok());
  EXPECT_EQ(Spent().creates.count, 1);
}

TEST_F(Spendings, HoldActiveJobsToTheirLimit) {
  StartProcess();
  EXPECT_TRUE(SpendNow("one", {.active_jobs = 2}).ok());
  CreateReply second = Spend("two", {.active_jobs = 2});
  CreateReply third = Spend("three", {.active_jobs = 2});
  ASSERT_TRUE(RunUntil([&] { return second.ready() && third.ready(); }));
  EXPECT_TRUE(second.get().ok());
  EXPECT_EQ(ReasonOf(third.get().status()), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  EXPECT_EQ(Spent().active_jobs, 2);
  segmind_.Change(segmind_.jobs()[0].id, [](FakeJob& job) { job.status = "FAILED"; });
  ASSERT_TRUE(RunUntil([&] { return Spent().active_jobs == 1; }));
  EXPECT_TRUE(SpendNow("three", {.active_jobs = 2}).ok());
  EXPECT_EQ(process_->catalog.ActiveOf("alice"), 2);
}

TEST_F(Spendings, AllowNothingThatCannotBeCounted) {
  process_ = std::make_unique<Process>(options_, std::make_unique<UncountingStore>(),
                                       segmind_.Connect(), clock_);
  ASSERT_TRUE(process_->Load().ok());
  process_->tracker.Start();
  EXPECT_EQ(ReasonOf(SpendNow("limited", {.creates_per_day = 5})),
            pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_EQ(segmind_.posts(), 0);
  EXPECT_TRUE(SpendNow("not-limited", {}).ok());
}

// Budgets hold through restarts, with a Segmind that loses answers, whatever is retried.
TEST_F(Spendings, NeverExceedTheBudgetWhateverFails) {
  SetLogLevel(LogLevel::kError);
  constexpr int64_t kBudget = 5;
  for (uint32_t seed = 1; seed <= 8 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    std::minstd_rand random(seed);
    FakeSegmind segmind(clock_);
    segmind.set_submit_fate([fate = std::minstd_rand(seed * 3)]() mutable {
      constexpr Fate kFates[] = {Fate::kLostAfter,   Fate::kLostBefore, Fate::kServerErrorAfter,
                                 Fate::kServerError, Fate::kTruncated,  Fate::kRefused,
                                 Fate::kNoConnection};
      const uint32_t roll = fate() % 12;
      return roll < std::size(kFates) ? kFates[roll] : Fate::kFine;
    });
    const std::string path = absl::StrCat(::testing::TempDir(), "/spending-", getpid(), ".db");
    const auto remove_store = [&] {
      for (const char* suffix : {"", "-wal", "-shm", "-mark"})
        std::filesystem::remove(path + suffix);
    };
    remove_store();
    const auto start = [&] {
      auto store = OpenSqliteStore(path);
      ASSERT_TRUE(store.ok()) << store.status();
      process_ = std::make_unique<Process>(options_, *std::move(store), segmind.Connect(), clock_);
      ASSERT_TRUE(process_->Load().ok());
      process_->tracker.Start();
    };
    start();
    std::vector<std::optional<CreateReply>> calls(12);
    int restarts = 0;
    const auto step = [&] {
      for (size_t i = 0; i < calls.size(); ++i) {
        if (calls[i] && calls[i]->ready()) calls[i].reset();
        if (!calls[i])
          calls[i] =
              Spend(absl::StrCat("request-", i, "-", random() % 4), {.creates_per_day = kBudget});
      }
      EXPECT_LE(segmind.taken(), kBudget);
      if (restarts < 3 && random() % 60 == 0) {
        ++restarts;
        process_.reset();
        calls.assign(calls.size(), std::nullopt);
        start();
      }
      return restarts == 3 && segmind.taken() == kBudget;
    };
    EXPECT_TRUE(RunUntil(step)) << "the budget was never spent";
    const absl::Time end = clock_.Now() + absl::Seconds(20);
    RunUntil([&] { return step() && clock_.Now() > end; });
    EXPECT_EQ(segmind.taken(), kBudget);
    process_.reset();
    remove_store();
  }
}

}  // namespace
}  // namespace finetune
