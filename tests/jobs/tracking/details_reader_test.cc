#include "server/jobs/tracking/details_reader.h"

#include <gtest/gtest.h>

#include "server/jobs/record/merge.h"
#include "tests/jobs/tracking/reading_rig.h"

namespace finetune {
namespace {

using pb::FineTune;

// A reader with all that it talks to, and the tracker's thread, which takes one step at a time.
class DetailsReaderTest : public ReadingRig {
 protected:
  DetailsReaderTest() {
    reader_ = std::make_unique<DetailsReader>(
        Parts(), absl::Minutes(2), worker_,
        DetailsReader::Listener{.on_search_news = [this] { ++search_news_; },
                                .on_observed = [] {},
                                .on_step = [this] { OnStep(); }});
  }
  ~DetailsReaderTest() override { worker_->Stop(); }

  // A job that the record has and Segmind knows by the same name.
  void AddJob(const std::string& id, const std::string& status = "TRAINING") {
    FakeJob job;
    job.id = "up-" + id;
    job.name = "display of " + id;
    job.prompt = "prompt of " + id;
    job.data_source = "https://data.test/" + id;
    job.status = status;
    job.created = job.visible = jobs_.clock.Now();
    segmind_.Add(job);
    ASSERT_TRUE(jobs_.Put(MakeJob(id)).ok());
  }
  FineTune Job(const std::string& id) { return ToRecord(*jobs_.catalog.Find(id)).fine_tune(); }

  // Runs on the tracker's thread and waits for so many further steps.
  void Do(const std::function<void()>& what, int steps) {
    Notification done;
    worker_->Post([&] {
      what();
      steps_left_ = steps;
      all_steps_ = &done;
      if (steps == 0) OnStep();
    });
    done.WaitForNotification();
  }
  void OnStep() {
    if (--steps_left_ <= 0 && all_steps_ != nullptr) std::exchange(all_steps_, nullptr)->Notify();
  }
  void Ask(const std::string& id, unsigned why, int steps) {
    Do(
        [&] {
          reader_->queue().Add("up-" + id, why);
          reader_->Start(jobs_.clock.Now());
        },
        steps);
  }

  std::unique_ptr<DetailsReader> reader_;
  // Worker's thread only.
  int steps_left_ = 0;
  Notification* all_steps_ = nullptr;
  int search_news_ = 0;
};

TEST_F(DetailsReaderTest, JoinsWhatDetailsSayIntoTheJob) {
  AddJob("a");
  Ask("a", DetailsQueue::kBackfill, /*steps=*/2);
  EXPECT_EQ(Job("a").state(), FineTune::TRAINING);
  EXPECT_EQ(Job("a").instance_prompt(), "prompt of a");
}

TEST_F(DetailsReaderTest, SaysThatAWebhookBroughtTheNews) {
  AddJob("a");
  Ask("a", DetailsQueue::kHint, /*steps=*/2);
  EXPECT_EQ(Job("a").transitions().rbegin()->source(), pb::StateTransition::WEBHOOK);
}

TEST_F(DetailsReaderTest, WantsAListWhereAHintsDetailsCannotBeRead) {
  AddJob("a");
  segmind_.set_details_fate([] { return Fate::kTruncated; });
  pace_.OnListRecorded(jobs_.clock.Now(), jobs_.clock.Now());
  pace_.OnListBegun(jobs_.clock.Now());
  jobs_.clock.Advance(absl::Seconds(1));
  Ask("a", DetailsQueue::kBackfill, /*steps=*/1);
  EXPECT_GT(pace_.NextStart(0, false, 100), jobs_.clock.Now());
  Ask("a", DetailsQueue::kHint, /*steps=*/1);
  EXPECT_LE(pace_.NextStart(0, false, 100), jobs_.clock.Now());
  EXPECT_EQ(Job("a").state(), FineTune::QUEUED);
}

TEST_F(DetailsReaderTest, TellsTheSearchWhenItsDetailsCameOrCannotBeHad) {
  AddJob("a");
  Ask("a", DetailsQueue::kBackfill, /*steps=*/2);
  EXPECT_EQ(search_news_, 0);
  Ask("a", DetailsQueue::kSettle, /*steps=*/2);
  EXPECT_EQ(search_news_, 1);
  Ask("none", DetailsQueue::kSettle, /*steps=*/1);
  EXPECT_EQ(search_news_, 2);
}

TEST_F(DetailsReaderTest, ADoubtEndsWithTheDetails) {
  AddJob("a");
  Do([&] { reader_->Doubt({"up-a"}); }, 0);
  EXPECT_TRUE(reader_->has_doubts());
  Do([&] { reader_->Start(jobs_.clock.Now()); }, 2);
  EXPECT_FALSE(reader_->has_doubts());
}

TEST_F(DetailsReaderTest, TakesNoAnswerOnceItIsStopped) {
  AddJob("a");
  Do([&] { reader_->queue().Add("up-a", DetailsQueue::kHint); }, 0);
  Do(
      [&] {
        reader_->Start(jobs_.clock.Now());
        reader_->Stop();
      },
      1);
  EXPECT_EQ(segmind_.details(), 1);
  EXPECT_EQ(Job("a").state(), FineTune::QUEUED);
}

TEST_F(DetailsReaderTest, LearnsSegmindsTimeFromAJobThatWasJustSubmitted) {
  segmind_.set_clock_ahead(absl::Hours(2));
  const absl::Time now = jobs_.clock.Now();
  AddJob("a");
  segmind_.Change("up-a", [&](FakeJob& job) { job.created = now + absl::Hours(2); });
  Do(
      [&] {
        reader_->NoteSubmitted("up-a", now, now);
        reader_->Start(now);
      },
      2);
  ASSERT_TRUE(upstream_clock_.CreatedAt(now));
  EXPECT_EQ(*upstream_clock_.CreatedAt(now), now + absl::Hours(2));
}

}  // namespace
}  // namespace finetune
