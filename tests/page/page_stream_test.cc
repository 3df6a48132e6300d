#include "server/page/page_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/strings/str_split.h"
#include "server/page/open_pages.h"
#include "tests/jobs/watching/watch_world.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr auto kQueued = pb::FineTune::QUEUED;
constexpr auto kTraining = pb::FineTune::TRAINING;

class CountingOutlet : public WebOutlet {
 public:
  void Wake() override { ++wakes; }
  void Cut() override { ++cuts; }

  std::atomic<int> wakes = 0, cuts = 0;
};

// One event of a stream, as a browser reads it.
struct Event {
  std::string event, data;
  std::optional<std::string> id;
};

std::vector<Event> EventsOf(const std::string& text) {
  std::vector<Event> events;
  for (absl::string_view block : absl::StrSplit(text, "\n\n", absl::SkipEmpty())) {
    Event event;
    for (const auto& part : absl::StrSplit(block, '\n')) {
      const std::string line(part);
      if (line.starts_with("event: ")) event.event = line.substr(7);
      if (line.starts_with("data: ")) event.data = line.substr(6);
      if (line.starts_with("id: ")) event.id = line.substr(4);
    }
    events.push_back(event);
  }
  return events;
}

class PageStreamTest : public testing::Test {
 protected:
  std::shared_ptr<PageStream> Open(std::optional<ResumePoint> resume = std::nullopt) {
    auto stream =
        pages_->Open(source_, {.filter = *Filter::Parse(""), .resume = std::move(resume)});
    stream->Begin(outlet_);
    return stream;
  }
  // What a browser is told that takes all.
  std::vector<Event> Read(PageStream& stream) {
    world_->hub.AwaitIdle();
    std::string all;
    std::string some;
    do {
      some.clear();
      open_ = stream.Fill(some);
      all += some;
      world_->hub.AwaitIdle();
    } while (!some.empty());
    return EventsOf(all);
  }
  // Without the status.
  std::vector<std::string> ReadNames(PageStream& stream) {
    std::vector<std::string> names;
    for (const Event& event : Read(stream))
      if (event.event != "status") names.push_back(event.event);
    return names;
  }

  WatchMemoryStore store_;
  ManualClock clock_;
  std::unique_ptr<WatchWorld> world_ = std::make_unique<WatchWorld>(store_, clock_);
  pb::GatewayStatus status_;
  std::atomic<int> asked_ = 0;
  const PageSource source_{.hub = world_->hub, .clock = clock_, .status = [this] {
                             ++asked_;
                             return status_;
                           }};
  const std::shared_ptr<OpenPages> pages_ = std::make_shared<OpenPages>(clock_, 20);
  const std::shared_ptr<CountingOutlet> outlet_ = std::make_shared<CountingOutlet>();
  bool open_ = true;
};

TEST_F(PageStreamTest, SaysWhatTheHubSaysAsEventsWhoseIdIsTheResumeToken) {
  world_->Put("a", kQueued);
  const auto stream = Open();
  status_.set_replica("gateway-0");
  const auto first = Read(*stream);
  ASSERT_EQ(first.size(), 3u);
  EXPECT_EQ(first[0].event, "change");
  EXPECT_THAT(first[0].data, HasSubstr("{\"change\":{\"type\":\"SNAPSHOT\",\"fineTune\":{\"name\":"
                                       "\"fineTunes/a\""));
  EXPECT_EQ(first[0].id, std::nullopt);
  EXPECT_EQ(first[1].event, "synced");
  EXPECT_EQ(DecodeResumeToken(*first[1].id)->revision, 1u);
  EXPECT_EQ(first[2].event, "status");
  EXPECT_THAT(first[2].data, HasSubstr("\"status\":{\"replica\":\"gateway-0\"}"));
  EXPECT_EQ(first[2].id, std::nullopt);

  const int wakes = outlet_->wakes;
  world_->Put("a", kTraining);
  world_->hub.AwaitIdle();
  EXPECT_EQ(outlet_->wakes, wakes + 1);
  const auto next = Read(*stream);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_THAT(next[0].data, HasSubstr("\"state\":\"TRAINING\""));
  EXPECT_EQ(DecodeResumeToken(*next[0].id)->revision, 2u);
  EXPECT_THAT(next[0].data, Not(HasSubstr(*next[0].id)));
  stream->Close();
  EXPECT_EQ(world_->hub.watcher_count(), 0);
}

TEST_F(PageStreamTest, ResumesAfterAToken) {
  world_->Put("a", kQueued);
  const auto stream = Open();
  const auto first = Read(*stream);
  stream->Close();
  world_->Put("b", kQueued);
  const auto resumed = Open(*DecodeResumeToken(*first[1].id));
  EXPECT_THAT(ReadNames(*resumed), ElementsAre("change", "heartbeat"));
  resumed->Close();
}

TEST_F(PageStreamTest, ATokenOfAnotherHistoryIsForgottenByTheBrowser) {
  world_->Put("a", kQueued);
  const auto stream = Open(ResumePoint());
  const auto events = Read(*stream);
  EXPECT_EQ(events[0].event, "restart");
  EXPECT_EQ(events[0].id, "");
  EXPECT_EQ(events[1].event, "change");
  EXPECT_EQ(events[2].event, "synced");
  stream->Close();
}

TEST_F(PageStreamTest, HoldsOneMessageForASlowReaderAndTellsItTheLatestThen) {
  world_->Put("a", kQueued);
  const auto stream = Open();
  Read(*stream);
  for (int i = 0; i < 50; ++i) world_->Put("a", i % 2 == 0 ? kTraining : kQueued);
  // The first was under way; of the others the last counts.
  EXPECT_THAT(ReadNames(*stream), ElementsAre("change", "change"));
  stream->Close();
}

TEST_F(PageStreamTest, StopsFillingWhereThereIsNoRoom) {
  for (int i = 0; i < 2000; ++i) world_->Put(absl::StrCat("job-", i), kQueued);
  const auto stream = Open();
  std::string output;
  EXPECT_TRUE(stream->Fill(output));
  EXPECT_GT(output.size(), WebStream::kRoom);
  EXPECT_LT(output.size(), WebStream::kRoom + 4096);
  EXPECT_EQ(Read(*stream).size() + EventsOf(output).size(), 2002u);
  stream->Close();
}

TEST_F(PageStreamTest, TellsTheStatusWhenItHasChangedAndAsksOnlyWhileItIsOpen) {
  const auto stream = Open();
  EXPECT_EQ(Read(*stream).size(), 2u);
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(Read(*stream), IsEmpty());
  EXPECT_EQ(asked_, 2);
  status_.set_upstream_calls_left(7);
  clock_.Advance(absl::Seconds(1));
  const auto events = Read(*stream);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_THAT(events[0].data, HasSubstr("\"upstreamCallsLeft\":7"));
  stream->Close();
  const int wakes = outlet_->wakes;
  clock_.Advance(absl::Minutes(1));
  EXPECT_EQ(outlet_->wakes, wakes);
}

TEST_F(PageStreamTest, EndsWhenTheHubEndsIt) {
  const auto stream = Open();
  Read(*stream);
  bool drained = false;
  world_->hub.Drain(absl::ZeroDuration(), absl::Seconds(1), [&] { drained = true; });
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(ReadNames(*stream), ElementsAre("heartbeat"));
  EXPECT_FALSE(open_);
  EXPECT_TRUE(drained);
  stream->Close();
  // And at once where the hub takes no more.
  const auto late = Open();
  std::string output;
  EXPECT_FALSE(late->Fill(output));
  EXPECT_EQ(output, "");
  late->Close();
}

TEST_F(PageStreamTest, IsCutWhereItsReaderKeepsTheHubFromEnding) {
  world_->Put("a", kQueued);
  const auto stream = Open();
  bool drained = false;
  world_->hub.Drain(absl::ZeroDuration(), absl::Seconds(1), [&] { drained = true; });
  // Its time to end, and then the time by which it must have.
  clock_.Advance(absl::Milliseconds(1));
  world_->hub.AwaitIdle();
  clock_.Advance(absl::Seconds(2));
  world_->hub.AwaitIdle();
  EXPECT_EQ(outlet_->cuts, 1);
  stream->Close();
  EXPECT_TRUE(drained);
}

TEST_F(PageStreamTest, LeavesNothingBehindHoweverItEnds) {
  for (const bool reads : {true, false}) {
    std::weak_ptr<PageStream> weak;
    {
      const auto stream = Open();
      weak = stream;
      if (reads) Read(*stream);
      world_->Put("a", kQueued);
      world_->hub.AwaitIdle();
      stream->Close();
    }
    EXPECT_TRUE(weak.expired());
    EXPECT_EQ(world_->hub.watcher_count(), 0);
    EXPECT_EQ(pages_->count(), 0u);
  }
}

TEST_F(PageStreamTest, SurvivesChangesThatComeWhileItCloses) {
  for (int i = 0; i < 200; ++i) {
    const auto stream = Open();
    Read(*stream);
    world_->Put("a", i % 2 == 0 ? kTraining : kQueued);
    stream->Close();
  }
  world_->hub.AwaitIdle();
  EXPECT_EQ(world_->hub.watcher_count(), 0);
}

TEST(EventText, IsEmptyForBytesThatAreNoMessage) {
  const grpc::Slice slice("\xff\xff");
  EXPECT_EQ(EventText(grpc::ByteBuffer(&slice, 1)), "");
}

}  // namespace
}  // namespace finetune
