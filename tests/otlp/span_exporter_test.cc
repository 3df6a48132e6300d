#include "server/otlp/span_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "server/base/worker.h"
#include "tests/base/manual_clock.h"
#include "tests/base/notification.h"

namespace finetune {
namespace {

// A collector as an HttpClient: keeps what it is asked, and answers when the test says so.
// Thread-safe.
class Collector : public HttpClient {
 public:
  void Start(HttpRequest request, Done done) override {
    MutexLock lock(mu_);
    ASSERT_FALSE(done_) << "one batch at a time";
    if (!shut_down_) {
      requests_.push_back(std::move(request));
      done_ = std::move(done);
      changed_.NotifyAll();
      return;
    }
    done_ = std::move(done);
    AnswerLocked({.status = absl::CancelledError("shut down")});
  }
  void Shutdown() override {
    MutexLock lock(mu_);
    shut_down_ = true;
    if (done_) AnswerLocked({.status = absl::CancelledError("shut down")});
  }

  // Waits for a call, and answers it.
  HttpRequest Answer(int code, std::string body = "{}",
                     std::vector<std::pair<std::string, std::string>> headers = {}) {
    return Answer(HttpResult{.response = {code, std::move(headers), std::move(body)}});
  }
  HttpRequest Answer(HttpResult result) {
    MutexLock lock(mu_);
    while (!done_) changed_.Wait(mu_);
    AnswerLocked(std::move(result));
    return requests_.back();
  }
  void AwaitCall() {
    MutexLock lock(mu_);
    while (!done_) changed_.Wait(mu_);
  }
  size_t calls() {
    MutexLock lock(mu_);
    return requests_.size();
  }

 private:
  void AnswerLocked(HttpResult result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    // It only posts to the exporter's thread.
    Done done = std::move(*done_);
    done_.reset();
    std::move(done)(std::move(result));
  }

  Mutex mu_;
  CondVar changed_;
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<HttpRequest> requests_ ABSL_GUARDED_BY(mu_);
  std::optional<Done> done_ ABSL_GUARDED_BY(mu_);
};

class SpanExporterTest : public ::testing::Test {
 protected:
  SpanExporterTest() {
    settings_.url = "http://collector:4318/v1/traces";
    settings_.headers = {{"x-key", Secret("hush")}};
    settings_.resource = {{"service.name", "gateway"}};
    settings_.max_queue = 8;
    settings_.max_batch = 4;
  }

  SpanExporter& Exporter() {
    if (!exporter_) {
      auto collector = std::make_unique<Collector>();
      collector_ = collector.get();
      exporter_.emplace(settings_, std::move(collector), clock_, metrics_);
    }
    return *exporter_;
  }
  void End(int spans, const std::string& name = "span") {
    Tracer tracer({}, Exporter(), clock_);
    for (int i = 0; i < spans; ++i)
      tracer.Start(clock_.Now(), SpanKind::kInternal, absl::StrCat(name, i), {}).End();
  }
  double Count(const std::string& name, const std::string& reason = "") {
    for (const auto& family : metrics_.registry()->Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric)
        if (reason.empty() || metric.label[0].value == reason) return metric.counter.value;
    }
    return -1;
  }
  double Exported() { return Count("finetune_gateway_spans_exported_total"); }
  double Dropped(const std::string& reason) {
    return Count("finetune_gateway_spans_dropped_total", reason);
  }
  // Turns the clock until the collector is asked again.
  void AwaitRetry() {
    const size_t before = collector_->calls();
    // The exporter has taken the answer, and set its alarm.
    Worker::AwaitIdleProcess();
    while (collector_->calls() == before) {
      clock_.Advance(absl::Milliseconds(100));
      Worker::AwaitIdleProcess();
    }
  }
  void StopLongBefore() { exporter_->Stop(clock_.Now() + absl::Hours(1)); }

  ManualClock clock_;
  Metrics metrics_;
  TraceSettings settings_;
  Collector* collector_ = nullptr;  // The exporter's.
  std::optional<SpanExporter> exporter_;
};

TEST_F(SpanExporterTest, PostsAFullBatchAtOnce) {
  End(4);
  const HttpRequest request = collector_->Answer(200);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, settings_.url);
  EXPECT_THAT(request.headers,
              testing::ElementsAre(testing::Pair("Content-Type", "application/json")));
  ASSERT_EQ(request.secret_headers.size(), 1u);
  EXPECT_EQ(request.secret_headers[0].second.Reveal(), "hush");
  EXPECT_EQ(request.deadline, clock_.Now() + absl::Seconds(10));
  for (const char* part : {"span0", "span3", "service.name"})
    EXPECT_TRUE(absl::StrContains(request.body, part)) << part;
  StopLongBefore();
  EXPECT_EQ(Exported(), 4);
}

TEST_F(SpanExporterTest, PostsAFewAfterAWhile) {
  End(1);
  clock_.Advance(absl::Milliseconds(4900));
  End(1, "other");
  EXPECT_EQ(collector_->calls(), 0u);
  clock_.Advance(absl::Milliseconds(100));
  const HttpRequest request = collector_->Answer(200);
  EXPECT_TRUE(absl::StrContains(request.body, "other0"));
  StopLongBefore();
  EXPECT_EQ(Exported(), 2);
}

TEST_F(SpanExporterTest, DropsAndCountsWhatTheQueueDoesNotHold) {
  End(4);
  collector_->AwaitCall();
  // The collector hangs.
  End(11);
  EXPECT_EQ(Dropped("queue_full"), 3);
  collector_->Answer(200);
  collector_->Answer(200);
  collector_->Answer(200);
  StopLongBefore();
  EXPECT_EQ(Exported(), 12);
}

TEST_F(SpanExporterTest, TriesAgainWhatTheCollectorCannotTakeNow) {
  End(4);
  for (const int code : {429, 502, 503, 504}) {
    collector_->Answer(code);
    AwaitRetry();
  }
  collector_->Answer({.status = absl::UnavailableError("no connection")});
  AwaitRetry();
  collector_->Answer(200);
  StopLongBefore();
  EXPECT_EQ(Exported(), 4);
  EXPECT_EQ(Dropped("unreachable"), 0);
}

TEST_F(SpanExporterTest, WaitsAsLongAsItIsTold) {
  End(4);
  const absl::Time start = clock_.Now();
  collector_->Answer(503, "", {{"retry-after", "17"}});
  AwaitRetry();
  EXPECT_GE(clock_.Now() - start, absl::Seconds(17));
  collector_->Answer(200);
}

TEST_F(SpanExporterTest, GivesABatchUpAfterAMinuteAndGoesOnWithTheNext) {
  End(4);
  const absl::Time start = clock_.Now();
  while (Dropped("unreachable") == 0) {
    collector_->Answer(503);
    if (collector_->calls() == 4) End(1, "next");
    AwaitRetry();
    ASSERT_LT(clock_.Now() - start, absl::Minutes(2));
  }
  EXPECT_EQ(Dropped("unreachable"), 4);
  EXPECT_TRUE(absl::StrContains(collector_->Answer(200).body, "next0"));
}

TEST_F(SpanExporterTest, DoesNotRepeatWhatIsRefused) {
  End(4);
  collector_->Answer(400);
  End(4);
  collector_->Answer(200, R"({"partialSuccess":{"rejectedSpans":"1"}})");
  StopLongBefore();
  EXPECT_EQ(Dropped("refused"), 5);
  EXPECT_EQ(Exported(), 3);
}

TEST_F(SpanExporterTest, ExportsWhatIsQueuedWhenItStops) {
  End(3);
  std::thread stopping([this] { StopLongBefore(); });
  collector_->Answer(200);
  stopping.join();
  EXPECT_EQ(Exported(), 3);
  End(1);
  EXPECT_EQ(collector_->calls(), 1u);
}

TEST_F(SpanExporterTest, StopsInTimeWhenTheCollectorHangs) {
  End(7);
  const absl::Time deadline = clock_.Now() + absl::Seconds(2);
  std::thread stopping([&] { exporter_->Stop(deadline); });
  collector_->AwaitCall();
  clock_.Advance(absl::Seconds(2));
  stopping.join();
  EXPECT_EQ(Exported(), 0);
  EXPECT_EQ(Dropped("unreachable"), 7);
}

TEST_F(SpanExporterTest, StopsAtOnceWhenTheCollectorIsDead) {
  End(7);
  collector_->Answer({.status = absl::UnavailableError("no connection")});
  std::thread stopping([this] { StopLongBefore(); });
  collector_->Answer({.status = absl::UnavailableError("no connection")});
  stopping.join();
  EXPECT_EQ(Dropped("unreachable"), 7);
}

TEST_F(SpanExporterTest, GoesWithoutWaitingForTheCollector) {
  End(6);
  collector_->AwaitCall();
  exporter_.reset();
  EXPECT_EQ(Exported(), 0);
  EXPECT_EQ(Dropped("unreachable"), 6);
}

}  // namespace
}  // namespace finetune
