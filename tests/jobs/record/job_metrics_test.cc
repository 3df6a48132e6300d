#include "server/jobs/record/job_metrics.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <random>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/time_proto.h"
#include "server/jobs/record/merge.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using Series = std::map<std::string, double>;

// What /metrics shows of jobs. Histograms by their sum and count.
Series Shown(const Metrics& metrics) {
  std::istringstream text(prometheus::TextSerializer().Serialize(metrics.registry()->Collect()));
  Series series;
  for (std::string line; std::getline(text, line);) {
    const size_t space = line.rfind(' ');
    if (line.starts_with("#") || absl::StrContains(line, "_bucket{")) continue;
    if (!absl::SimpleAtod(line.substr(space + 1), &series[line.substr(0, space)])) ADD_FAILURE();
  }
  return series;
}

struct JobMetricsFixture : JobsFixture {
  JobMetricsFixture() { recorder->AddListener(&jobs); }
  ~JobMetricsFixture() { recorder->Stop(); }

  // Submitted by `caller` just now.
  record::FineTuneRecord Submitted(const std::string& id, const std::string& caller,
                                   const std::string& base_model = "FLUX") {
    record::FineTuneRecord record = MakeJob(id, pb::FineTune::STATE_UNSPECIFIED);
    record.set_request_id("request of " + id);
    record.mutable_fine_tune()->set_creator(caller);
    record.mutable_fine_tune()->set_base_model(base_model);
    *record.mutable_fine_tune()->mutable_create_time() = ToProto(clock.WallNow());
    MoveTo(pb::FineTune::QUEUED, "QUEUED", clock.WallNow(), pb::StateTransition::SUBMIT, record);
    return record;
  }
  void Submit(const std::string& id, const std::string& caller = "alice",
              const std::string& base_model = "FLUX") {
    ASSERT_TRUE(Put(Submitted(id, caller, base_model)).ok());
  }
  void Move(const std::string& id, pb::FineTune::State state,
            pb::Failure::Reason reason = pb::Failure::REASON_UNSPECIFIED) {
    record::FineTuneRecord record = ToRecord(*catalog.Find(id));
    MoveTo(state, "", clock.WallNow(), pb::StateTransition::POLL, record);
    if (reason != pb::Failure::REASON_UNSPECIFIED)
      record.mutable_fine_tune()->mutable_failure()->set_reason(reason);
    ASSERT_TRUE(Put(record).ok());
  }
  double operator[](const std::string& series) {
    const Series shown = Shown(metrics);
    const auto found = shown.find(absl::StrCat("finetune_gateway_", series));
    if (found == shown.end()) ADD_FAILURE() << "there is no " << series;
    return found == shown.end() ? -1 : found->second;
  }

  JobMetrics jobs{clock, metrics};
};

TEST(JobMetrics, CountsAJobFromItsSubmissionToItsWeights) {
  JobMetricsFixture f;
  f.Submit("a");
  EXPECT_EQ(f[R"(jobs{base_model="FLUX",state="QUEUED"})"], 1);
  EXPECT_EQ(f[R"(jobs_created_total{base_model="FLUX"})"], 1);
  EXPECT_EQ(f[R"(caller_jobs_created_total{caller="alice"})"], 1);
  EXPECT_EQ(f[R"(caller_active_jobs{caller="alice"})"], 1);
  f.clock.Advance(absl::Minutes(5));
  f.Move("a", pb::FineTune::TRAINING);
  EXPECT_EQ(f[R"(jobs{base_model="FLUX",state="QUEUED"})"], 0);
  EXPECT_EQ(f[R"(jobs{base_model="FLUX",state="TRAINING"})"], 1);
  EXPECT_EQ(f[R"(job_waiting_seconds_sum{base_model="FLUX"})"], 300);
  f.clock.Advance(absl::Minutes(20));
  f.Move("a", pb::FineTune::TRAINED);
  EXPECT_EQ(f[R"(job_training_seconds_sum{base_model="FLUX"})"], 1200);
  EXPECT_EQ(f[R"(job_state_seconds_sum{base_model="FLUX",state="TRAINING"})"], 1200);
  f.clock.Advance(absl::Minutes(1));
  f.Move("a", pb::FineTune::AVAILABLE);
  EXPECT_EQ(f[R"(job_training_seconds_count{base_model="FLUX"})"], 1);
  EXPECT_EQ(f[R"(jobs_ended_total{base_model="FLUX",state="AVAILABLE"})"], 1);
  EXPECT_EQ(f[R"(caller_jobs_ended_total{caller="alice",state="AVAILABLE"})"], 1);
  EXPECT_EQ(f[R"(caller_active_jobs{caller="alice"})"], 0);
}

TEST(JobMetrics, SaysWhyJobsFail) {
  JobMetricsFixture f;
  f.Submit("a");
  f.Submit("b");
  f.Move("a", pb::FineTune::FAILED, pb::Failure::OUT_OF_MEMORY);
  f.Move("b", pb::FineTune::FAILED);
  EXPECT_EQ(f[R"(jobs_failed_total{base_model="FLUX",reason="OUT_OF_MEMORY"})"], 1);
  EXPECT_EQ(f[R"(jobs_failed_total{base_model="FLUX",reason="REASON_UNSPECIFIED"})"], 1);
  EXPECT_EQ(f[R"(jobs_ended_total{base_model="FLUX",state="FAILED"})"], 2);
  EXPECT_EQ(f[R"(job_training_seconds_count{base_model="FLUX"})"], 0);
}

TEST(JobMetrics, CountsNoChangeThatIsNotOne) {
  JobMetricsFixture f;
  f.Submit("a");
  const Series before = Shown(f.metrics);
  record::FineTuneRecord record = ToRecord(*f.catalog.Find("a"));
  record.mutable_fine_tune()->set_trigger_word("TOK");
  ASSERT_TRUE(f.Put(record).ok());
  Series after = Shown(f.metrics);
  for (const auto& [name, value] : before) {
    if (absl::StrContains(name, "_job")) EXPECT_EQ(after[name], value) << name;
  }
}

// A job that was made elsewhere, and had gone on for who knows how long when it was first listed.
TEST(JobMetrics, CountsWhatWasSeenToHappenAlone) {
  JobMetricsFixture f;
  ASSERT_TRUE(f.Put(MakeJob("ended", pb::FineTune::AVAILABLE)).ok());
  EXPECT_EQ(f[R"(jobs{base_model="FAST_FLUX",state="AVAILABLE"})"], 1);
  EXPECT_EQ(f[R"(jobs_ended_total{base_model="FAST_FLUX",state="AVAILABLE"})"], 0);
  ASSERT_TRUE(f.Put(MakeJob("training", pb::FineTune::TRAINING)).ok());
  EXPECT_EQ(f[R"(caller_active_jobs{caller="elsewhere"})"], 1);
  f.clock.Advance(absl::Minutes(1));
  f.Move("training", pb::FineTune::AVAILABLE);
  EXPECT_EQ(f[R"(job_state_seconds_count{base_model="FAST_FLUX",state="TRAINING"})"], 0);
  EXPECT_EQ(f[R"(job_training_seconds_count{base_model="FAST_FLUX"})"], 0);
  EXPECT_EQ(f[R"(jobs_created_total{base_model="FAST_FLUX"})"], 0);
  EXPECT_EQ(f[R"(jobs_ended_total{base_model="FAST_FLUX",state="AVAILABLE"})"], 1);
}

TEST(JobMetrics, AJobThatIsTriedAgainTrainsFromItsFirstBeginning) {
  JobMetricsFixture f;
  f.Submit("a");
  f.Move("a", pb::FineTune::TRAINING);
  f.clock.Advance(absl::Minutes(2));
  f.Move("a", pb::FineTune::QUEUED);
  f.clock.Advance(absl::Minutes(3));
  f.Move("a", pb::FineTune::TRAINING);
  f.clock.Advance(absl::Minutes(4));
  f.Move("a", pb::FineTune::TRAINED);
  EXPECT_EQ(f[R"(job_waiting_seconds_count{base_model="FLUX"})"], 1);
  EXPECT_EQ(f[R"(job_training_seconds_sum{base_model="FLUX"})"], 9 * 60);
}

TEST(JobMetrics, TellsTheAgeOfWhatHasBeenLongestInAState) {
  JobMetricsFixture f;
  const std::string training = R"(job_oldest_seconds{base_model="FLUX",state="TRAINING"})";
  f.Submit("a");
  f.Submit("b");
  f.Move("a", pb::FineTune::TRAINING);
  f.clock.Advance(absl::Minutes(10));
  f.Move("b", pb::FineTune::TRAINING);
  f.clock.Advance(absl::Minutes(1));
  f.jobs.UpdateAges();
  EXPECT_EQ(f[training], 11 * 60);
  EXPECT_EQ(f[R"(job_oldest_seconds{base_model="FLUX",state="QUEUED"})"], 0);
  f.Move("a", pb::FineTune::AVAILABLE);
  f.jobs.UpdateAges();
  EXPECT_EQ(f[training], 60);
  ASSERT_TRUE(f.Run([](Draft& draft) {
                 draft.Forget("b");
                 return absl::OkStatus();
               }).ok());
  f.jobs.UpdateAges();
  EXPECT_EQ(f[training], 0);
  EXPECT_EQ(f[R"(jobs{base_model="FLUX",state="TRAINING"})"], 0);
}

TEST(JobMetrics, TimesGoBySteadyTime) {
  JobMetricsFixture f;
  f.Submit("a");
  f.Move("a", pb::FineTune::TRAINING);
  f.clock.StepWall(-absl::Hours(5));
  f.clock.Advance(absl::Minutes(10));
  f.jobs.UpdateAges();
  EXPECT_EQ(f[R"(job_oldest_seconds{base_model="FLUX",state="TRAINING"})"], 600);
  f.Move("a", pb::FineTune::TRAINED);
  EXPECT_EQ(f[R"(job_training_seconds_sum{base_model="FLUX"})"], 600);
}

TEST(JobMetrics, AfterARestartTimesGoOnAndCountersBeginAtZero) {
  JobMetricsFixture f;
  f.Submit("a");
  f.clock.Advance(absl::Minutes(1));
  f.Move("a", pb::FineTune::TRAINING);
  f.clock.Advance(absl::Minutes(10));

  Metrics metrics;
  JobMetrics again(f.clock, metrics);
  again.Load(*f.catalog.view());
  again.UpdateAges();
  Series shown = Shown(metrics);
  EXPECT_EQ(shown[R"(finetune_gateway_jobs{base_model="FLUX",state="TRAINING"})"], 1);
  EXPECT_EQ(shown[R"(finetune_gateway_caller_active_jobs{caller="alice"})"], 1);
  EXPECT_EQ(shown[R"(finetune_gateway_jobs_created_total{base_model="FLUX"})"], 0);
  EXPECT_EQ(shown[R"(finetune_gateway_job_oldest_seconds{base_model="FLUX",state="TRAINING"})"],
            600);
  f.recorder->AddListener(&again);
  f.Move("a", pb::FineTune::TRAINED);
  shown = Shown(metrics);
  EXPECT_EQ(shown[R"(finetune_gateway_job_training_seconds_sum{base_model="FLUX"})"], 600);
  EXPECT_EQ(shown[R"(finetune_gateway_job_state_seconds_sum{base_model="FLUX",state="TRAINING"})"],
            600);
}

// The record may hold times that lie ahead of now.
TEST(JobMetrics, NoAgeIsNegative) {
  JobMetricsFixture f;
  f.clock.StepWall(absl::Hours(9));
  f.Submit("a");
  f.Move("a", pb::FineTune::TRAINING);
  f.clock.StepWall(-absl::Hours(9));
  Metrics metrics;
  JobMetrics again(f.clock, metrics);
  again.Load(*f.catalog.view());
  again.UpdateAges();
  EXPECT_EQ(
      Shown(metrics)[R"(finetune_gateway_job_oldest_seconds{base_model="FLUX",state="TRAINING"})"],
      0);
  f.recorder->AddListener(&again);
  f.Move("a", pb::FineTune::TRAINED);
  EXPECT_EQ(Shown(metrics)[R"(finetune_gateway_job_training_seconds_sum{base_model="FLUX"})"], 0);
}

TEST(JobMetrics, BoundsBaseModelsAndCallers) {
  JobMetricsFixture f;
  for (int i = 0; i < 200; ++i)
    f.Submit(absl::StrCat("job", i), absl::StrCat("caller", i), absl::StrCat("MODEL_", i));
  size_t models = 0;
  size_t callers = 0;
  double jobs = 0;
  for (const auto& [name, value] : Shown(f.metrics)) {
    models += name.starts_with("finetune_gateway_jobs_created_total{");
    callers += name.starts_with("finetune_gateway_caller_jobs_created_total{");
    if (name.starts_with("finetune_gateway_jobs{")) jobs += value;
  }
  EXPECT_EQ(models, 20);
  EXPECT_EQ(callers, 100);
  EXPECT_EQ(jobs, 200);
  // Whoever had its own series keeps it, and who had not shares one.
  f.Move("job0", pb::FineTune::AVAILABLE);
  f.Move("job199", pb::FineTune::AVAILABLE);
  EXPECT_EQ(f[R"(jobs_ended_total{base_model="MODEL_0",state="AVAILABLE"})"], 1);
  EXPECT_EQ(f[R"(jobs_ended_total{base_model="other",state="AVAILABLE"})"], 1);
  EXPECT_EQ(f[R"(jobs{base_model="other",state="QUEUED"})"], 180);
}

TEST(JobMetrics, KnowsThePolicysCallersBeforeTheyCome) {
  JobMetricsFixture f;
  f.jobs.KnowCallers({"alice", "bob"});
  EXPECT_EQ(f[R"(caller_jobs_created_total{caller="bob"})"], 0);
  f.Submit("a", "");
  EXPECT_EQ(f[R"(caller_jobs_created_total{caller="unnamed"})"], 1);
}

TEST(JobMetrics, GaugesAreThoseOfAFreshStartWhateverHappens) {
  JobMetricsFixture f;
  std::mt19937 random(7);
  int made = 0;
  for (int i = 0; i < 600; ++i) {
    f.clock.Advance(absl::Seconds(random() % 100));
    const int which = made == 0 ? -1 : static_cast<int>(random() % made);
    const std::string id = absl::StrCat("job", which);
    if (which < 0 || random() % 4 == 0) {
      f.Submit(absl::StrCat("job", made), absl::StrCat("caller", made % 3),
               absl::StrCat("MODEL_", made % 2));
      ++made;
    } else if (f.catalog.Find(id) == nullptr) {
      continue;
    } else if (random() % 10 == 0) {
      ASSERT_TRUE(f.Run([&](Draft& draft) {
                     draft.Forget(id);
                     return absl::OkStatus();
                   }).ok());
    } else {
      f.Move(id, static_cast<pb::FineTune::State>(1 + random() % 10));
    }
  }
  f.jobs.UpdateAges();
  Metrics metrics;
  JobMetrics fresh(f.clock, metrics);
  fresh.Load(*f.catalog.view());
  fresh.UpdateAges();
  Series expected = Shown(metrics);
  size_t compared = 0;
  for (const auto& [name, value] : Shown(f.metrics)) {
    if (!name.starts_with("finetune_gateway_jobs{") &&
        !name.starts_with("finetune_gateway_job_oldest_seconds{") &&
        !name.starts_with("finetune_gateway_caller_active_jobs{"))
      continue;
    EXPECT_NEAR(expected[name], value, 0.01) << name;
    ++compared;
  }
  EXPECT_GT(compared, 30u);
}

}  // namespace
}  // namespace finetune
