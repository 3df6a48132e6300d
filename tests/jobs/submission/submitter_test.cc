#include "server/jobs/submission/submitter.h"

#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/ascii.h"
#include "server/jobs/record/marker.h"
#include "tests/base/notification.h"
#include "tests/base/span_collector.h"
#include "tests/jobs/passing_store.h"
#include "tests/jobs/rig.h"

namespace finetune {
namespace {

using pb::FineTune;
using ::testing::HasSubstr;

// A store that can be made to refuse to write, as a full disk does, or to take its time.
class RefusingStore : public PassingStore {
 public:
  // A commit that waits for the disk.
  struct Hang {
    Notification begun, over;
  };

  RefusingStore(std::unique_ptr<Store> under, std::atomic<bool>& refuses,
                const std::atomic<Hang*>& hang)
      : PassingStore(std::move(under)), refuses_(refuses), hang_(hang) {}
  CommitOutcome Commit(const StoreBatch& batch) override {
    if (Hang* hang = hang_) {
      hang->begun.Notify();
      hang->over.WaitForNotification();
    }
    if (!refuses_) return PassingStore::Commit(batch);
    Abandon();
    return CommitOutcome::Of(Full());
  }
  absl::Status CheckWritable() override {
    return refuses_ ? Full() : PassingStore::CheckWritable();
  }

 private:
  static absl::Status Full() {
    return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE, "disk full");
  }
  std::atomic<bool>& refuses_;
  const std::atomic<Hang*>& hang_;
};

class SubmitterTest : public Rig {
 protected:
  void StartWithDisk() {
    auto store = std::make_unique<RefusingStore>(OpenSqliteStore(":memory:").value(), disk_is_full_,
                                                 disk_hang_);
    process_ = std::make_unique<Process>(options_, std::move(store), segmind_.Connect(), clock_);
    ASSERT_TRUE(process_->Load().ok());
    process_->tracker.Start();
  }
  absl::StatusOr<VersionPtr> Await(const CreateReply& reply) {
    EXPECT_TRUE(RunUntil([&] { return reply.ready(); }));
    return reply.get();
  }

  // The job of r1, whose submission met this fate and was given up.
  VersionPtr GivenUp(Fate fate, absl::Duration patience) {
    segmind_.NextSubmits({fate});
    VersionPtr job = Await(Create("r1", patience)).value();
    EXPECT_EQ(job->state, FineTune::FAILED);
    EXPECT_EQ(Job(job->id).failure().reason(), pb::Failure::NOT_SUBMITTED);
    return job;
  }

  std::atomic<bool> disk_is_full_{false};
  std::atomic<RefusingStore::Hang*> disk_hang_{nullptr};
};

TEST_F(SubmitterTest, MakesAJob) {
  StartProcess();
  auto result = Await(Create("r1"));
  ASSERT_TRUE(result.ok()) << result.status();
  const FineTune job = Job((*result)->id);
  EXPECT_EQ(job.state(), FineTune::QUEUED);
  EXPECT_EQ(job.upstream_status(), "REQUESTED");
  EXPECT_EQ(job.display_name(), "cats");
  EXPECT_EQ(job.creator(), "alice");
  EXPECT_EQ(job.transitions(0).source(), pb::StateTransition::SUBMIT);
  ASSERT_EQ(segmind_.taken(), 1);
  EXPECT_EQ(job.upstream_id(), segmind_.jobs()[0].id);
  EXPECT_EQ(StripMarker(segmind_.jobs()[0].name).display_name, "cats");
  EXPECT_TRUE(IsMarker(StripMarker(segmind_.jobs()[0].name).marker));
  RunFor(absl::Seconds(5));
  EXPECT_EQ(JobCount(), 1u);
}

TEST_F(SubmitterTest, ANewJobIsFollowedAtOnceHoweverLongTheNextIdlePollIsAway) {
  options_.tracker.idle_poll_interval = absl::Hours(1);
  StartProcess();
  RunFor(absl::Seconds(3));
  const int before = segmind_.lists();
  ASSERT_TRUE(Await(Create("r1")).ok());
  RunFor(4 * options_.tracker.active_poll_interval);
  EXPECT_GE(segmind_.lists(), before + 2);
}

TEST_F(SubmitterTest, ItsStepsBelongToTheCallsTrace) {
  SpanCollector spans;
  Tracer tracer({}, spans, clock_);
  StartProcess();
  const Span root = tracer.Start(clock_.Now(), SpanKind::kServer, "root", {});
  CreateReply reply;
  process_->submitter.Create({.caller = "alice",
                              .request_id = "r1",
                              .fine_tune = Request(),
                              .deadline = clock_.Now() + absl::Seconds(10),
                              .trace = root.context()},
                             reply.Taker());
  ASSERT_TRUE(Await(reply).ok());
  std::vector<std::string> steps;
  for (const SpanRecord& record : spans.records()) {
    EXPECT_EQ(record.parent_id, root.context().span_id);
    steps.push_back(record.name);
  }
  EXPECT_EQ(steps, (std::vector<std::string>{"store commit", "POST /finetune/request/submit",
                                             "store commit"}));
}

TEST_F(SubmitterTest, SendsTheNameAloneWithoutMarkers) {
  options_.submitter.markers = false;
  StartProcess();
  ASSERT_TRUE(Await(Create("r1")).ok());
  EXPECT_EQ(segmind_.jobs()[0].name, "cats");
}

TEST_F(SubmitterTest, ARepeatedRequestIdIsTheSameJob) {
  StartProcess();
  auto first = Await(Create("r1"));
  auto second = Await(Create("r1"));
  EXPECT_EQ((*first)->id, (*second)->id);
  EXPECT_EQ(segmind_.posts(), 1);
  EXPECT_NE((*Await(Create("r2")))->id, (*first)->id);
}

TEST_F(SubmitterTest, ARequestIdWithOtherParametersIsRefused) {
  StartProcess();
  ASSERT_TRUE(Await(Create("r1")).ok());
  auto other = Await(Create("r1", absl::Seconds(5), Request("dogs")));
  EXPECT_TRUE(absl::IsInvalidArgument(other.status()));
  EXPECT_EQ(ReasonOf(other.status()), pb::ErrorReason::REQUEST_ID_REUSED);
}

TEST_F(SubmitterTest, SendsSignedUrlsAndKeepsThemWithoutTheirSignatures) {
  StartProcess();
  const auto with_signature = [](const std::string& signature) {
    FineTune request = Request();
    request.set_data_source_uri("https://h/d.zip?n=1&X-Amz-Signature=" + signature);
    (*request.mutable_parameters()->mutable_extra()->mutable_fields())["init_image"]
        .set_string_value("https://h/i?sig=" + signature);
    return request;
  };
  auto first = Await(Create("r1", absl::Seconds(10), with_signature("one")));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(segmind_.jobs()[0].data_source, "https://h/d.zip?n=1&X-Amz-Signature=one");
  RunFor(absl::Seconds(5));
  const FineTune job = Job((*first)->id);
  EXPECT_EQ(job.data_source_uri(), "https://h/d.zip?n=1");
  EXPECT_EQ(job.parameters().extra().fields().at("init_image").string_value(), "https://h/i");
  RunFor(absl::Seconds(5));
  EXPECT_EQ(Job((*first)->id).revision(), job.revision());
  // The same, signed anew.
  auto again = Await(Create("r1", absl::Seconds(10), with_signature("two")));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->id, (*first)->id);
  EXPECT_EQ(segmind_.posts(), 1);
  FineTune other = with_signature("one");
  other.set_data_source_uri("https://h/d.zip?n=2&X-Amz-Signature=one");
  EXPECT_EQ(ReasonOf(Await(Create("r1", absl::Seconds(10), other)).status()),
            pb::ErrorReason::REQUEST_ID_REUSED);
}

TEST_F(SubmitterTest, SendsTheSignatureThatARepeatBringsAfterARefusal) {
  StartProcess();
  const auto with_signature = [](const std::string& signature) {
    FineTune request = Request();
    request.set_data_source_uri("https://h/d.zip?X-Amz-Signature=" + signature);
    return request;
  };
  segmind_.NextSubmits({Fate::kRefused});
  ASSERT_FALSE(Await(Create("r1", absl::Seconds(10), with_signature("one"))).ok());
  ASSERT_TRUE(Await(Create("r1", absl::Seconds(10), with_signature("two"))).ok());
  EXPECT_EQ(segmind_.jobs()[0].data_source, "https://h/d.zip?X-Amz-Signature=two");
}

TEST_F(SubmitterTest, ALostAnswerIsFoundByItsDatasetWhoeverSignedItWithoutMarkers) {
  options_.submitter.markers = false;
  StartProcess();
  FineTune request = Request();
  request.set_data_source_uri("https://h/d.zip?X-Amz-Signature=one");
  segmind_.NextSubmits({Fate::kLostAfter});
  auto result = Await(Create("r1", absl::Minutes(5), request));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Job((*result)->id).state(), FineTune::QUEUED);
  EXPECT_EQ(JobCount(), 1u);
}

TEST_F(SubmitterTest, LooksAtANewSubmissionBeforeItIsSentAndAtNoRepeat) {
  StartProcess();
  int looks = 0;
  absl::Status verdict = Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
                               "fine_tune.data_source_uri: leads to a web page, no zip");
  const auto create = [&] {
    CreateReply reply;
    process_->submitter.Create({.caller = "alice",
                                .request_id = "r1",
                                .fine_tune = Request(),
                                .look =
                                    [&](absl::AnyInvocable<void(absl::Status) &&> done) {
                                      ++looks;
                                      std::move(done)(verdict);
                                    },
                                .deadline = clock_.Now() + absl::Seconds(10)},
                               reply.Taker());
    return Await(reply);
  };
  const auto refused = create();
  EXPECT_EQ(ReasonOf(refused.status()), pb::ErrorReason::INVALID_FIELD) << refused.status();
  EXPECT_EQ(segmind_.posts(), 0);
  EXPECT_EQ(JobCount(), 0u);
  verdict = absl::OkStatus();
  const auto made = create();
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(looks, 2);
  // What became of the dataset since does not matter.
  verdict = absl::InvalidArgumentError("gone");
  EXPECT_EQ((*create())->id, (*made)->id);
  EXPECT_EQ(looks, 2);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SubmitterTest, ACallWhoseTimeIsUpWhileItIsLookedAtSendsNothing) {
  StartProcess();
  absl::AnyInvocable<void(absl::Status) &&> look_done;
  std::atomic<bool> looks = false;
  CreateReply reply;
  process_->submitter.Create({.caller = "alice",
                              .request_id = "r1",
                              .fine_tune = Request(),
                              .look =
                                  [&](absl::AnyInvocable<void(absl::Status) &&> done) {
                                    look_done = std::move(done);
                                    looks = true;
                                  },
                              .deadline = clock_.Now() + absl::Seconds(2)},
                             reply.Taker());
  ASSERT_TRUE(RunUntil([&] { return looks.load(); }));
  RunFor(absl::Seconds(3));
  EXPECT_FALSE(Await(reply).ok());
  std::move(look_done)(absl::OkStatus());
  RunFor(absl::Seconds(1));
  EXPECT_EQ(segmind_.posts(), 0);
  EXPECT_EQ(JobCount(), 0u);
}

TEST_F(SubmitterTest, AKeyThatIsRefusedIsTriedAtOnceByAList) {
  options_.tracker.idle_poll_interval = absl::Hours(1);
  StartProcess();
  RunFor(absl::Seconds(1));
  ASSERT_EQ(segmind_.lists(), 1);
  segmind_.set_refusal(401, "Unauthorized");
  segmind_.NextSubmits({Fate::kRefused});
  const auto refused = Await(Create("r1"));
  EXPECT_EQ(ReasonOf(refused.status()), pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED);
  RunFor(absl::Seconds(5));
  EXPECT_EQ(segmind_.lists(), 2);
}

TEST_F(SubmitterTest, AHundredCallsAtOnceMakeOnePost) {
  StartProcess();
  std::vector<CreateReply> replies;
  for (int i = 0; i < 100; ++i) replies.push_back(Create("r1"));
  std::set<std::string> ids;
  for (const CreateReply& reply : replies) ids.insert((*Await(reply))->id);
  EXPECT_EQ(ids.size(), 1u);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SubmitterTest, ARefusalLeavesNoJobAndMayBeTriedAgain) {
  StartProcess();
  segmind_.NextSubmits({Fate::kRefused});
  auto refused = Await(Create("r1"));
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << refused.status();
  EXPECT_EQ(ReasonOf(refused.status()), pb::ErrorReason::UPSTREAM_REJECTED);
  EXPECT_EQ(process_->catalog.view()->revision(), 0u);
  EXPECT_THAT(MetricsText(),
              ::testing::HasSubstr(
                  R"(finetune_gateway_submissions_not_made_total{reason="UPSTREAM_REJECTED"} 1)"));
  EXPECT_TRUE(Await(Create("r1")).ok());
  EXPECT_EQ(segmind_.taken(), 1);
}

TEST_F(SubmitterTest, TriesAgainOnlyWhatWasNeverSent) {
  StartProcess();
  segmind_.NextSubmits({Fate::kNoConnection, Fate::kNoConnection, Fate::kNoConnection});
  EXPECT_TRUE(Await(Create("r1")).ok());
  EXPECT_EQ(segmind_.posts(), 1);
  segmind_.set_submit_fate([] { return Fate::kNoConnection; });
  auto failed = Await(Create("r2", absl::Seconds(3)));
  EXPECT_TRUE(absl::IsUnavailable(failed.status())) << failed.status();
  RunFor(absl::Seconds(5));
  EXPECT_EQ(JobCount(), 1u);
}

TEST_F(SubmitterTest, ALostAnswerIsFoundByItsMarker) {
  StartProcess();
  for (Fate fate : {Fate::kLostAfter, Fate::kServerErrorAfter, Fate::kTruncated}) {
    segmind_.NextSubmits({fate});
    const int before = segmind_.taken();
    auto found = Await(Create(absl::StrCat("r", before), absl::Seconds(10)));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(segmind_.taken(), before + 1);
    const FineTune job = Job((*found)->id);
    EXPECT_EQ(job.upstream_id(), segmind_.jobs().back().id);
    EXPECT_EQ(job.transitions(0).state(), FineTune::SUBMIT_UNKNOWN);
    EXPECT_EQ(job.transitions(1).source(), pb::StateTransition::RECONCILE);
    EXPECT_EQ(JobCount(), static_cast<size_t>(before) + 1);
  }
}

// As of an outage in which Segmind goes on to take jobs.
TEST_F(SubmitterTest, HoweverManyAnswersAreLostAtOnceEachJobIsFound) {
  constexpr int kLost = 130;
  for (const bool markers : {true, false}) {
    const int before = segmind_.taken();
    options_.submitter.markers = markers;
    segmind_.set_submit_fate([] { return Fate::kLostAfter; });
    segmind_.set_list_fate([] { return Fate::kServerError; });
    StartProcess();
    std::vector<CreateReply> replies;
    for (int i = 0; i < kLost; ++i) {
      FineTune asked = Request(absl::StrCat("cats ", i));
      // Without markers one must be told from the other by something else.
      if (!markers) asked.set_instance_prompt(absl::StrCat("a photo of TOK cat number ", 100 + i));
      replies.push_back(Create(absl::StrCat("r", i), absl::Seconds(10), std::move(asked)));
    }
    for (const CreateReply& reply : replies) ASSERT_TRUE(Await(reply).ok());
    segmind_.set_list_fate([] { return Fate::kFine; });
    ASSERT_TRUE(RunUntil([&] {
      return std::none_of(replies.begin(), replies.end(), [&](const CreateReply& reply) {
        return Job((*reply.get())->id).state() == FineTune::SUBMIT_UNKNOWN;
      });
    })) << markers;
    for (const CreateReply& reply : replies)
      EXPECT_EQ(Job((*reply.get())->id).state(), FineTune::QUEUED) << markers;
    EXPECT_EQ(segmind_.taken() - before, kLost);
    if (markers) {
      EXPECT_EQ(JobCount(), static_cast<size_t>(kLost));
    }
    process_.reset();
    segmind_.set_submit_fate(nullptr);
  }
}

// A sweep that somebody made there himself, and a gateway that has read no list yet.
TEST_F(SubmitterTest, JobsThatAreAlikeAreLookedIntoOnceEachBeforeASubmissionIsGivenUp) {
  constexpr int kAlike = 130;
  segmind_.set_list_fate([] { return Fate::kServerError; });
  segmind_.NextSubmits({Fate::kLostBefore});
  StartProcess();
  auto lost = Await(Create("r1"));
  ASSERT_TRUE(lost.ok());
  for (int i = 0; i < kAlike; ++i) {
    FakeJob alike;
    alike.id = absl::StrCat("alike-", i);
    alike.name = "sweep";
    alike.data_source = Request().data_source_uri();
    alike.prompt = absl::StrCat("prompt ", 100 + i);
    segmind_.Add(alike);
  }
  segmind_.set_list_fate([] { return Fate::kFine; });
  ASSERT_TRUE(RunUntil([&] { return Job((*lost)->id).state() != FineTune::SUBMIT_UNKNOWN; }));
  EXPECT_EQ(Job((*lost)->id).state(), FineTune::FAILED);
  EXPECT_EQ(JobCount(), kAlike + 1u);
  // Not again with each list.
  EXPECT_LE(segmind_.details(), 4 * kAlike);
}

TEST_F(SubmitterTest, AnAnswerThatNamesTheJobOtherwiseThanListsDoMakesNoSecondJob) {
  StartProcess();
  segmind_.set_answered_id(R"("request_id":"queue-1")");
  auto made = Await(Create("r"));
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string listed = segmind_.jobs()[0].id;
  // A list may have been read since.
  EXPECT_THAT(Job((*made)->id).upstream_id(), testing::AnyOf("queue-1", listed));
  ASSERT_TRUE(RunUntil([&] { return StateAt(listed) != FineTune::STATE_UNSPECIFIED; }));
  EXPECT_EQ(Job((*made)->id).upstream_id(), listed);
  segmind_.Change(listed, [](FakeJob& job) { job.status = "AVAILABLE"; });
  ASSERT_TRUE(RunUntil([&] { return Job((*made)->id).state() == FineTune::AVAILABLE; }));
  RunFor(absl::Minutes(11), absl::Seconds(1));
  EXPECT_EQ(JobCount(), 1u);
  EXPECT_EQ(Job((*made)->id).state(), FineTune::AVAILABLE);
}

TEST_F(SubmitterTest, AnAnswerThatProvedNothingIsQuotedOnceItIsKnownThatThereIsNoJob) {
  StartProcess();
  segmind_.NextSubmits({Fate::kRefused});
  // A failed dependency may be one that came after the job was made.
  segmind_.set_refusal(424, "steps too large");
  auto refused = Await(Create("r"));
  ASSERT_TRUE(refused.ok()) << refused.status();
  const FineTune job = Job((*refused)->id);
  EXPECT_EQ(job.failure().reason(), pb::Failure::NOT_SUBMITTED);
  EXPECT_THAT(job.failure().message(), HasSubstr("HTTP 424"));
  EXPECT_THAT(job.failure().message(), HasSubstr("steps too large"));
}

TEST_F(SubmitterTest, ALostAnswerIsFoundWithoutMarkersToo) {
  options_.submitter.markers = false;
  StartProcess();
  segmind_.NextSubmits({Fate::kLostAfter});
  auto found = Await(Create("r1", absl::Seconds(10)));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(Job((*found)->id).upstream_id(), segmind_.jobs()[0].id);
  RunFor(absl::Seconds(5));
  EXPECT_EQ(JobCount(), 1u);
}

TEST_F(SubmitterTest, AnotherPromptIsAnotherJobWithoutMarkers) {
  options_.submitter.markers = false;
  StartProcess();
  segmind_.NextSubmits({Fate::kLostBefore});
  auto unknown = Create("r1", absl::Seconds(20));
  FakeJob twin;
  twin.id = "twin";
  twin.name = "cats";
  twin.data_source = Request().data_source_uri();
  twin.prompt = "another one";
  twin.created = twin.visible = clock_.Now();
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 1; }));
  segmind_.Add(twin);
  auto result = Await(unknown);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ((*result)->state, FineTune::FAILED);
  EXPECT_NE(Job("twin").name(), "");
  EXPECT_EQ(JobCount(), 2u);
}

TEST_F(SubmitterTest, AJobWhoseAnswerIsAwaitedIsNotItsTwinsWithoutMarkers) {
  options_.submitter.markers = false;
  StartProcess();
  segmind_.NextSubmits({Fate::kLostBefore, Fate::kHeld});
  auto lost = Create("r1", absl::Seconds(60));
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 1; }));
  auto awaited = Create("r2", absl::Seconds(60));
  ASSERT_TRUE(RunUntil([&] { return segmind_.taken() == 1; }));
  RunFor(absl::Seconds(5));
  EXPECT_FALSE(lost.ready());
  segmind_.Release();
  auto made = Await(awaited);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(Job((*made)->id).upstream_id(), segmind_.jobs()[0].id);
  auto absent = Await(lost);
  ASSERT_TRUE(absent.ok()) << absent.status();
  EXPECT_NE((*absent)->id, (*made)->id);
  EXPECT_EQ((*absent)->state, FineTune::FAILED);
}

// What is done to a name on its way through Segmind, and whether the marker survives it.
struct NameChange {
  const char* what;
  std::function<std::string(const std::string&)> change;
  bool keeps_marker = true;
};

std::vector<NameChange> NameChanges() {
  const auto replace = [](char with) {
    return [with](std::string name) {
      std::replace(name.begin(), name.end(), '-', with);
      return name;
    };
  };
  return {{"upper case", [](const std::string& name) { return absl::AsciiStrToUpper(name); }},
          {"title case",
           [](std::string name) {
             name[0] = absl::ascii_toupper(name[0]);
             return name;
           }},
          {"cut to 20", [](const std::string& name) { return name.substr(0, 20); }},
          {"underscores", replace('_')},
          {"spaces", replace(' ')},
          {"a version", [](const std::string& name) { return name + "-v1"; }},
          {"cut to 8", [](const std::string& name) { return name.substr(0, 8); }, false},
          {"another name", [](const std::string&) { return "finetune"; }, false},
          {"no name", [](const std::string&) { return ""; }, false}};
}

TEST_F(SubmitterTest, ALostAnswerIsFoundWhateverSegmindDoesToNames) {
  for (const NameChange& name : NameChanges()) {
    SCOPED_TRACE(name.what);
    segmind_.set_name_change(name.change);
    process_.reset();
    StartProcess();
    // The jobs that are there already are known then.
    RunFor(absl::Seconds(1));
    segmind_.NextSubmits({Fate::kLostAfter});
    const int before = segmind_.taken();
    auto found = Await(Create("r", absl::Seconds(20), Request("a name that is rather long")));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ((*found)->state, FineTune::QUEUED);
    EXPECT_EQ(Job((*found)->id).upstream_id(), segmind_.jobs().back().id);
    EXPECT_EQ(Job((*found)->id).display_name(), "a name that is rather long");
    EXPECT_EQ(segmind_.taken(), before + 1);
  }
}

TEST_F(SubmitterTest, AMarkerThatDoesNotComeBackIsCountedBeforeTheFirstLoss) {
  StartProcess();
  ASSERT_TRUE(Await(Create("r1")).ok());
  RunFor(absl::Seconds(3));
  EXPECT_THAT(MetricsText(), HasSubstr("finetune_gateway_markers_missing_total 0"));
  segmind_.set_name_change([](const std::string&) { return "finetune"; });
  ASSERT_TRUE(Await(Create("r2")).ok());
  RunFor(absl::Seconds(3));
  EXPECT_THAT(MetricsText(), HasSubstr("finetune_gateway_markers_missing_total 1"));
}

TEST_F(SubmitterTest, ALostAnswerIsFoundWhateverTheClocksSay) {
  for (absl::Duration ahead :
       {absl::Seconds(-45), absl::Seconds(45), absl::Hours(-3), absl::Hours(3)}) {
    for (bool markers : {true, false}) {
      SCOPED_TRACE(absl::StrCat(absl::FormatDuration(ahead), markers));
      segmind_.set_clock_ahead(ahead);
      options_.submitter.markers = markers;
      process_.reset();
      StartProcess();
      RunFor(absl::Seconds(2));
      segmind_.NextSubmits({Fate::kLostAfter});
      auto found = Await(Create(absl::StrCat("r", segmind_.taken()), absl::Seconds(20)));
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_EQ((*found)->state, FineTune::QUEUED);
      EXPECT_EQ(Job((*found)->id).upstream_id(), segmind_.jobs().back().id);
    }
  }
}

TEST_F(SubmitterTest, ALostAnswerIsFoundThoughThisMachinesClockIsSetMeanwhile) {
  options_.submitter.markers = false;
  StartProcess();
  for (absl::Duration step : {absl::Hours(1), absl::Hours(-2), absl::Hours(1)}) {
    RunFor(absl::Seconds(2));
    segmind_.NextSubmits({Fate::kLostAfter});
    auto reply = Create(absl::StrCat("r", segmind_.taken()), absl::Seconds(20));
    ASSERT_TRUE(RunUntil([&] { return segmind_.posts() > segmind_.taken() - 1; }));
    clock_.StepWall(step);
    auto found = Await(reply);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ((*found)->state, FineTune::QUEUED);
  }
}

TEST_F(SubmitterTest, AListThatLacksAJobThatIsThereProvesNoAbsence) {
  StartProcess();
  ASSERT_TRUE(Await(Create("r0")).ok());
  ASSERT_TRUE(RunUntil([&] { return segmind_.lists() > 2; }));
  ASSERT_TRUE(Await(Create("r1")).ok());
  segmind_.set_page(1);  // The oldest one; it does not say that it is a page.
  segmind_.NextSubmits({Fate::kLostAfter});
  auto shown = Await(Create("r2", absl::Seconds(20), Request("dogs")));
  ASSERT_TRUE(shown.ok());
  EXPECT_EQ((*shown)->state, FineTune::SUBMIT_UNKNOWN);
  RunFor(absl::Minutes(2), absl::Milliseconds(200));
  EXPECT_EQ(Job((*shown)->id).state(), FineTune::SUBMIT_UNKNOWN);
  EXPECT_TRUE(process_->tracker.list_is_partial());
  EXPECT_THAT(MetricsText(), HasSubstr("finetune_gateway_list_partial 1"));
  segmind_.set_page(SIZE_MAX);
  ASSERT_TRUE(RunUntil([&] { return Job((*shown)->id).state() == FineTune::QUEUED; }));
  EXPECT_FALSE(process_->tracker.list_is_partial());
  EXPECT_EQ(segmind_.taken(), 3);
}

TEST_F(SubmitterTest, ACopyUnderAMarkedNameDoesNotTakeTheSubmission) {
  StartProcess();
  RunFor(absl::Seconds(1));
  segmind_.NextSubmits({Fate::kLostAfter});
  segmind_.set_list_delay([] { return absl::Seconds(2); });  // Less than what one is missing for.
  auto reply = Create("r", absl::Seconds(60));
  ASSERT_TRUE(RunUntil([&] { return segmind_.taken() == 1; }));
  const FakeJob original = segmind_.jobs()[0];
  FakeJob copy = original;
  copy.visible = clock_.Now();
  for (int i = 0; i < 4; ++i) {
    FakeJob changed = copy;
    changed.id = absl::StrCat("copy-", i);
    if (i == 0) changed.prompt = "a drawing of another dog";
    if (i == 1) changed.data_source = "https://data.test/dogs.zip";
    if (i == 2) changed.base_model = "QWEN";
    if (i == 3) changed.created -= absl::Hours(3);
    segmind_.Add(changed);
  }
  auto found = Await(reply);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(Job((*found)->id).upstream_id(), original.id);
  RunFor(absl::Seconds(3));
  EXPECT_EQ(JobCount(), 5u);
}

TEST_F(SubmitterTest, WhatCannotBeToldStaysUnknownAndTheOperatorIsTold) {
  StartProcess();
  RunFor(absl::Seconds(1));
  segmind_.NextSubmits({Fate::kLostBefore});
  auto shown = Await(Create("r", absl::Seconds(1)));
  ASSERT_TRUE(shown.ok());
  ASSERT_EQ((*shown)->state, FineTune::SUBMIT_UNKNOWN);
  FakeJob copy;
  copy.id = "copy";
  copy.name = AddMarker("cats", (*shown)->marker);
  copy.data_source = Request().data_source_uri();
  copy.prompt = "a drawing of another dog";
  copy.created = copy.visible = clock_.Now();
  segmind_.Add(copy);
  RunFor(absl::Minutes(1), absl::Milliseconds(100));
  EXPECT_EQ(Job((*shown)->id).state(), FineTune::SUBMIT_UNKNOWN);
  EXPECT_EQ(StateAt("copy"), FineTune::QUEUED) << "it is shown as what it is";
  EXPECT_THAT(MetricsText(), HasSubstr("finetune_gateway_submissions_undecided 1"));
  segmind_.Change("copy", [](FakeJob& job) { job.hidden = true; });
  ASSERT_TRUE(RunUntil([&] { return Job((*shown)->id).state() == FineTune::FAILED; }));
  EXPECT_THAT(MetricsText(), HasSubstr("finetune_gateway_submissions_undecided 0"));
}

TEST_F(SubmitterTest, AnAnswerWithAnotherJobsIdTakesNothingFromIt) {
  StartProcess();
  auto first = Await(Create("r1"));
  ASSERT_TRUE(first.ok());
  const std::string id = segmind_.jobs()[0].id;
  segmind_.set_answered_id(absl::StrCat(R"("finetune_id":")", id, "\""));
  auto second = Await(Create("r2", absl::Seconds(10), Request("dogs")));
  ASSERT_TRUE(second.ok());
  EXPECT_NE((*second)->id, (*first)->id);
  EXPECT_EQ(Job((*first)->id).display_name(), "cats");
  EXPECT_EQ(Job((*first)->id).upstream_id(), id);
  ASSERT_TRUE(RunUntil([&] { return Job((*second)->id).state() == FineTune::QUEUED; }));
  EXPECT_EQ(Job((*second)->id).upstream_id(), segmind_.jobs()[1].id);
}

TEST_F(SubmitterTest, ARestartAfterTheClockWasAheadIsHeldUpByNothing) {
  KeepStore("submitter_clock_ahead");
  clock_.StepWall(absl::Hours(1));
  StartProcess();
  auto made = Await(Create("r1"));
  ASSERT_TRUE(made.ok());
  process_.reset();
  clock_.StepWall(absl::Hours(-1));
  StartProcess();
  segmind_.Change(segmind_.jobs()[0].id, [](FakeJob& job) { job.status = "AVAILABLE"; });
  ASSERT_TRUE(RunUntil([&] { return Job((*made)->id).state() == FineTune::AVAILABLE; }));
}

TEST_F(SubmitterTest, AnUnknownOutcomeIsShownAtTheDeadlineAndSettledLater) {
  StartProcess();
  segmind_.set_list_delay([] { return absl::Milliseconds(2500); });
  segmind_.NextSubmits({Fate::kLostAfter});
  auto shown = Await(Create("r1", absl::Seconds(2)));
  ASSERT_TRUE(shown.ok());
  EXPECT_EQ((*shown)->state, FineTune::SUBMIT_UNKNOWN);
  auto settled = Await(Create("r1", absl::Seconds(20)));
  EXPECT_EQ((*settled)->id, (*shown)->id);
  EXPECT_EQ((*settled)->state, FineTune::QUEUED);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SubmitterTest, ASubmissionThatSegmindNeverGotFailsAndMayBeTriedAgain) {
  StartProcess();
  const absl::Time began = clock_.Now();
  const VersionPtr failed = GivenUp(Fate::kLostBefore, absl::Seconds(30));
  EXPECT_GE(clock_.Now() - began, absl::Seconds(3));
  auto again = Await(Create("r1"));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)->state, FineTune::QUEUED);
  EXPECT_NE((*again)->id, failed->id);
  EXPECT_EQ(segmind_.taken(), 1);
}

TEST_F(SubmitterTest, ASubmissionThatComesToLightAfterAllIsNotMadeAgain) {
  StartProcess();
  segmind_.set_list_delay([] { return absl::Seconds(20); });
  const VersionPtr failed = GivenUp(Fate::kLostAfter, absl::Seconds(60));
  ASSERT_TRUE(RunUntil([&] { return Job(failed->id).state() == FineTune::QUEUED; }));
  auto again = Await(Create("r1"));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)->id, failed->id);
  EXPECT_EQ(segmind_.taken(), 1);
  EXPECT_EQ(JobCount(), 1u);
}

TEST_F(SubmitterTest, AMarkedCopyWithAnotherPromptDoesNotTakeOverAJobThatWasGivenUp) {
  StartProcess();
  const VersionPtr failed = GivenUp(Fate::kLostBefore, absl::Seconds(30));
  FakeJob copy;
  copy.id = "copy";
  copy.name = AddMarker("cats", failed->marker);
  copy.data_source = Request().data_source_uri();
  // Which lists do not show.
  copy.prompt = "a drawing of another dog";
  copy.created = copy.visible = clock_.Now();
  segmind_.Add(copy);
  ASSERT_TRUE(RunUntil([&] { return StateAt("copy") == FineTune::QUEUED; }));
  EXPECT_EQ(Job(failed->id).state(), FineTune::FAILED);
  EXPECT_EQ(JobCount(), 2u);
  // The job itself does.
  copy.id = "itself";
  copy.prompt = Request().instance_prompt();
  segmind_.Add(copy);
  ASSERT_TRUE(RunUntil([&] { return Job(failed->id).state() == FineTune::QUEUED; }));
  EXPECT_EQ(Job(failed->id).upstream_id(), "itself");
  auto again = Await(Create("r1"));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)->id, failed->id);
  EXPECT_EQ(JobCount(), 2u);
}

TEST_F(SubmitterTest, ASubmissionThatComesToLightAfterItWasMadeAgainIsAJobOfItsOwn) {
  StartProcess();
  segmind_.set_list_delay([] { return absl::Seconds(20); });
  const VersionPtr failed = GivenUp(Fate::kLostAfter, absl::Seconds(60));
  auto again = Await(Create("r1"));
  ASSERT_TRUE(again.ok());
  EXPECT_NE((*again)->id, failed->id);
  ASSERT_TRUE(RunUntil([&] { return Job(failed->id).state() == FineTune::QUEUED; }));
  auto third = Await(Create("r1"));
  ASSERT_TRUE(third.ok());
  EXPECT_EQ((*third)->id, (*again)->id);
  EXPECT_EQ(segmind_.taken(), 2);
  EXPECT_EQ(JobCount(), 2u);
}

TEST_F(SubmitterTest, ASlowAnswerIsShownAsUnknownAndMovesOn) {
  StartProcess();
  segmind_.NextSubmits({Fate::kHeldBefore});
  auto shown = Await(Create("r1", absl::Seconds(1)));
  ASSERT_TRUE(shown.ok());
  EXPECT_EQ((*shown)->state, FineTune::SUBMIT_UNKNOWN);
  // Long enough to be taken for not made, were its answer not still awaited.
  RunFor(absl::Seconds(6));
  EXPECT_EQ(Job((*shown)->id).state(), FineTune::SUBMIT_UNKNOWN);
  auto second = Create("r1", absl::Seconds(20));
  segmind_.Release();
  auto result = Await(second);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ((*result)->id, (*shown)->id);
  EXPECT_EQ((*result)->state, FineTune::QUEUED);
  EXPECT_EQ(JobCount(), 1u);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SubmitterTest, AListThatShowsTheJobBeforeItsAnswerMakesNoSecondJob) {
  for (bool markers : {true, false}) {
    options_.submitter.markers = markers;
    process_.reset();
    StartProcess();
    const int before = segmind_.taken();
    segmind_.NextSubmits({Fate::kHeld});
    auto reply = Create("r1", absl::Seconds(10));
    RunFor(absl::Seconds(3));
    segmind_.Release();
    auto result = Await(reply);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(Job((*result)->id).upstream_id(), segmind_.jobs().back().id);
    RunFor(absl::Seconds(3));
    EXPECT_EQ(JobCount(), static_cast<size_t>(before) + 1);
  }
}

TEST_F(SubmitterTest, AnAnswerThatRefusesAfterTheJobWasShownMakesItAFailure) {
  StartProcess();
  segmind_.NextSubmits({Fate::kHeldRefused});
  auto shown = Await(Create("r1", absl::Seconds(1)));
  ASSERT_EQ((*shown)->state, FineTune::SUBMIT_UNKNOWN);
  segmind_.Release();
  ASSERT_TRUE(RunUntil([&] { return Job((*shown)->id).state() == FineTune::FAILED; }));
  EXPECT_EQ(Job((*shown)->id).failure().reason(), pb::Failure::NOT_SUBMITTED);
  EXPECT_TRUE(Await(Create("r1")).ok());
  EXPECT_EQ(segmind_.taken(), 1);
}

TEST_F(SubmitterTest, AnAnswerThatNeverComesIsAnUnknownOutcome) {
  StartProcess();
  segmind_.NextSubmits({Fate::kHeldBefore});
  auto shown = Await(Create("r1", absl::Seconds(1)));
  ASSERT_EQ((*shown)->state, FineTune::SUBMIT_UNKNOWN);
  const absl::Time began = clock_.Now();
  ASSERT_TRUE(RunUntil([&] { return Job((*shown)->id).state() == FineTune::FAILED; }));
  EXPECT_EQ(Job((*shown)->id).failure().reason(), pb::Failure::NOT_SUBMITTED);
  // The search begins when the transport has given up.
  EXPECT_GE(clock_.Now() - began, absl::Seconds(20));
}

TEST_F(SubmitterTest, AFullDiskRefusesBeforeAnythingIsSent) {
  StartWithDisk();
  disk_is_full_ = true;
  auto refused = Await(Create("r1"));
  EXPECT_TRUE(absl::IsUnavailable(refused.status()));
  EXPECT_EQ(ReasonOf(refused.status()), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_EQ(segmind_.posts(), 0);
  disk_is_full_ = false;
  EXPECT_TRUE(Await(Create("r1")).ok());
}

TEST_F(SubmitterTest, ACallWhoseTimeIsUpBeforeItBeganHearsThatAndSendsNothing) {
  StartWithDisk();
  RefusingStore::Hang hang;
  disk_hang_ = &hang;
  const CreateReply reply = Create("r1", absl::Seconds(1));
  hang.begun.WaitForNotification();
  clock_.Advance(absl::Seconds(1));
  const auto late = reply.Wait();
  disk_hang_ = nullptr;
  hang.over.Notify();
  EXPECT_TRUE(absl::IsDeadlineExceeded(late.status())) << late.status();
  EXPECT_EQ(ReasonOf(late.status()), pb::ErrorReason::OVERLOADED);
  // Until it is over whoever repeats the request hears the same.
  Worker::AwaitIdleProcess();
  auto again = Await(Create("r1"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(segmind_.posts(), 1);
  EXPECT_EQ(JobCount(), 1u);
}

TEST_F(SubmitterTest, ADiskThatFillsUpDuringThePostNeverCausesASecondOne) {
  StartWithDisk();
  segmind_.NextSubmits({Fate::kHeldBefore});
  auto reply = Create("r1", absl::Seconds(4));
  ASSERT_TRUE(RunUntil([&] { return segmind_.posts() == 1; }));
  disk_is_full_ = true;
  segmind_.Release();
  auto result = Await(reply);
  EXPECT_EQ(ReasonOf(result.status()), pb::ErrorReason::STORE_UNAVAILABLE) << result.status();
  auto again = Create("r1", absl::Seconds(30));
  RunFor(absl::Seconds(3));
  disk_is_full_ = false;
  auto settled = Await(again);
  ASSERT_TRUE(settled.ok()) << settled.status();
  EXPECT_EQ((*settled)->state, FineTune::QUEUED);
  EXPECT_EQ(segmind_.posts(), 1);
  EXPECT_EQ(JobCount(), 1u);
}

TEST_F(SubmitterTest, WhatWasLeftOpenIsVisibleAndSettledAfterARestart) {
  KeepStore("submitter_restart");
  StartProcess();
  segmind_.NextSubmits({Fate::kHeld, Fate::kLostBefore});
  Create("r1", absl::Seconds(60));
  ASSERT_TRUE(RunUntil([&] { return segmind_.posts() == 1; }));
  process_.reset();
  StartProcess();
  ASSERT_EQ(JobCount(), 1u);
  const std::string id = process_->catalog.view()->at(0)->id;
  auto result = Await(Create("r1", absl::Seconds(10)));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ((*result)->id, id);
  EXPECT_EQ((*result)->state, FineTune::QUEUED);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SubmitterTest, TakesNoCallsWhileItDrains) {
  StartProcess();
  process_->submitter.Stop(clock_.Now());
  auto reply = Create("r1");
  ASSERT_TRUE(reply.ready());
  EXPECT_EQ(ReasonOf(reply.get().status()), pb::ErrorReason::SERVER_DRAINING);
}

}  // namespace
}  // namespace finetune
