#include "server/jobs/record/job_waits.h"

#include <thread>

#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

struct JobWaitsFixture : JobsFixture {
  JobWaitsFixture() : waits(catalog, clock) { recorder->AddListener(&waits); }
  ~JobWaitsFixture() { recorder->Stop(); }

  struct Result {
    int calls = 0;
    VersionPtr version;
    bool met = false;
  };
  static JobWaits::Done Into(Result& result) {
    return [&result](VersionPtr version, bool met) {
      ++result.calls;
      result.version = std::move(version);
      result.met = met;
    };
  }
  static JobWaits::Predicate Is(pb::FineTune::State state) {
    return [state](const FineTuneVersion& version) { return version.state == state; };
  }

  JobWaits waits;
};

TEST(JobWaits, EndsAtOnceIfTheJobIsThereAlready) {
  JobWaitsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  JobWaitsFixture::Result result;
  f.waits.WaitForFineTune("a", f.Is(pb::FineTune::QUEUED), absl::InfiniteFuture(), f.Into(result));
  EXPECT_EQ(result.calls, 1);
  EXPECT_TRUE(result.met);
  EXPECT_EQ(result.version, f.catalog.Find("a"));
}

TEST(JobWaits, EndsWithTheChangeThatMeetsIt) {
  JobWaitsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  JobWaitsFixture::Result result;
  f.waits.WaitForFineTune("a", f.Is(pb::FineTune::AVAILABLE), f.clock.Now() + absl::Hours(1),
                          f.Into(result));
  ASSERT_TRUE(f.Put(MakeJob("a", pb::FineTune::TRAINING)).ok());
  ASSERT_TRUE(f.Put(MakeJob("b", pb::FineTune::AVAILABLE)).ok());
  EXPECT_EQ(result.calls, 0);
  ASSERT_TRUE(f.Put(MakeJob("a", pb::FineTune::AVAILABLE)).ok());
  EXPECT_EQ(result.calls, 1);
  EXPECT_TRUE(result.met);
  EXPECT_EQ(result.version->state, pb::FineTune::AVAILABLE);
  f.clock.Advance(absl::Hours(2));
  EXPECT_EQ(result.calls, 1);
}

TEST(JobWaits, GivesUpAtTheDeadlineWithTheJobAsItIs) {
  JobWaitsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  JobWaitsFixture::Result result;
  f.waits.WaitForFineTune("a", f.Is(pb::FineTune::AVAILABLE), f.clock.Now() + absl::Seconds(5),
                          f.Into(result));
  f.clock.Advance(absl::Seconds(4));
  EXPECT_EQ(result.calls, 0);
  f.clock.Advance(absl::Seconds(1));
  EXPECT_EQ(result.calls, 1);
  EXPECT_FALSE(result.met);
  EXPECT_EQ(result.version->state, pb::FineTune::QUEUED);
  JobWaitsFixture::Result late;
  f.waits.WaitForFineTune("a", f.Is(pb::FineTune::AVAILABLE), f.clock.Now(), f.Into(late));
  EXPECT_EQ(late.calls, 1);
}

TEST(JobWaits, AJobThatIsNotThereEndsAtOnce) {
  JobWaitsFixture f;
  JobWaitsFixture::Result result;
  f.waits.WaitForFineTune("no", f.Is(pb::FineTune::QUEUED), absl::InfiniteFuture(), f.Into(result));
  EXPECT_EQ(result.calls, 1);
  EXPECT_FALSE(result.met);
  EXPECT_EQ(result.version, nullptr);
}

TEST(JobWaits, WaitsForARevision) {
  JobWaitsFixture f;
  JobWaitsFixture::Result second, fifth;
  f.waits.WaitForRevision(2, absl::InfiniteFuture(), f.Into(second));
  f.waits.WaitForRevision(5, f.clock.Now() + absl::Seconds(1), f.Into(fifth));
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  EXPECT_EQ(second.calls, 0);
  ASSERT_TRUE(f.Put(MakeJob("b")).ok());
  EXPECT_EQ(second.calls, 1);
  EXPECT_TRUE(second.met);
  f.clock.Advance(absl::Seconds(1));
  EXPECT_EQ(fifth.calls, 1);
  EXPECT_FALSE(fifth.met);
}

TEST(JobWaits, CancelAndShutdownEndEachWaitOnce) {
  JobWaitsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  JobWaitsFixture::Result cancelled, shut, later;
  const uint64_t ticket = f.waits.WaitForFineTune(
      "a", f.Is(pb::FineTune::LOST), f.clock.Now() + absl::Hours(1), f.Into(cancelled));
  f.waits.WaitForRevision(100, absl::InfiniteFuture(), f.Into(shut));
  f.waits.Cancel(ticket);
  f.waits.Cancel(ticket);
  EXPECT_EQ(cancelled.calls, 1);
  EXPECT_FALSE(cancelled.met);
  f.waits.Shutdown();
  EXPECT_EQ(shut.calls, 1);
  f.waits.WaitForRevision(100, absl::InfiniteFuture(), f.Into(later));
  EXPECT_EQ(later.calls, 1);
  EXPECT_FALSE(later.met);
  ASSERT_TRUE(f.Put(MakeJob("a", pb::FineTune::LOST)).ok());
  EXPECT_EQ(cancelled.calls, 1);
}

TEST(JobWaits, EveryWaitEndsOnceWhileChangesAndCancelsRace) {
  JobWaitsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("a")).ok());
  constexpr int kWaits = 2'000;
  std::vector<std::atomic<int>> calls(kWaits);
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) {
      EXPECT_TRUE(
          f.Put(MakeJob("a", i % 2 == 0 ? pb::FineTune::TRAINING : pb::FineTune::QUEUED)).ok());
    }
  });
  std::thread turner([&] {
    for (int i = 0; i < 200; ++i) f.clock.Advance(absl::Milliseconds(1));
  });
  for (int i = 0; i < kWaits; ++i) {
    auto done = [&calls, i](VersionPtr, bool) { ++calls[static_cast<size_t>(i)]; };
    const absl::Time deadline = f.clock.Now() + absl::Milliseconds(i % 20);
    const uint64_t ticket =
        i % 3 == 0 ? f.waits.WaitForRevision(static_cast<uint64_t>(i % 200), deadline, done)
                   : f.waits.WaitForFineTune("a", f.Is(pb::FineTune::TRAINING), deadline, done);
    if (i % 5 == 0) f.waits.Cancel(ticket);
  }
  writer.join();
  turner.join();
  f.waits.Shutdown();
  for (const auto& count : calls) EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace finetune
