#pragma once

#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/submission/submitter.h"
#include "server/jobs/submission/updater.h"
#include "server/jobs/tracking/tracker.h"
#include "server/segmind/segmind_client.h"
#include "server/store/sqlite_store.h"
#include "tests/base/manual_clock.h"
#include "tests/fakes/fake_segmind.h"
#include "tests/fakes/fixed_key.h"

namespace finetune {

// The object graph of one process of the gateway, without its doors.
struct Process {
  struct Options {
    Tracker::Options tracker{.active_poll_interval = absl::Milliseconds(500),
                             .idle_poll_interval = absl::Seconds(5),
                             .settle_lists = 3,
                             .settle_time = absl::Seconds(3)};
    Submitter::Options submitter;
  };

  // Alone, or one of a fleet.
  Process(Options options, std::unique_ptr<Store> opened, std::unique_ptr<HttpClient> connection,
          Clock& the_clock, std::unique_ptr<Fleet> others = nullptr)
      : clock(the_clock),
        fleet(others != nullptr ? std::move(others) : std::make_unique<SoloFleet>(FleetMember{})),
        store(std::move(opened)),
        http(std::move(connection)),
        client(ClientOptions(), *http, key, clock, metrics),
        catalog(Catalog::Options(), metrics),
        recorder(*store, catalog, clock, metrics),
        tracker(options.tracker, {.segmind = client,
                                  .recorder = recorder,
                                  .catalog = catalog,
                                  .fleet = *fleet,
                                  .clock = clock,
                                  .metrics = metrics}),
        submitter(options.submitter, client, recorder, catalog, tracker, clock, metrics),
        updater(client, recorder, catalog) {}

  ~Process() { Stop(); }

  absl::Status Load() {
    if (absl::Status status = recorder.Load(); !status.ok()) return status;
    recorder.AddListener(&submitter);
    return submitter.Recover();
  }
  // As a SIGTERM with no time to lose, or a SIGKILL if nobody hears what is said any more.
  void Stop() {
    submitter.Stop(absl::InfinitePast());
    tracker.Stop();
    http->Shutdown();
    recorder.Stop();
  }

  static SegmindClient::Options ClientOptions() {
    SegmindClient::Options options;
    options.url = "http://segmind.test";
    options.calls_per_minute = 1'000'000;
    options.submit_timeout = absl::Seconds(20);
    return options;
  }

  Clock& clock;
  std::unique_ptr<Fleet> fleet;
  Metrics metrics;
  FixedKey key;
  std::unique_ptr<Store> store;
  std::unique_ptr<HttpClient> http;
  SegmindClient client;
  Catalog catalog;
  Recorder recorder;
  Tracker tracker;
  Submitter submitter;
  Updater updater;
};

// An answer that a test waits for.
template <typename T>
class Reply {
 public:
  absl::AnyInvocable<void(T) &&> Taker() {
    return [state = state_](T value) {
      MutexLock lock(state->mu);
      ++state->count;
      state->value = std::move(value);
      state->came.NotifyAll();
    };
  }
  bool ready() const { return count() > 0; }
  int count() const {
    MutexLock lock(state_->mu);
    return state_->count;
  }
  T get() const {
    MutexLock lock(state_->mu);
    return *state_->value;
  }
  // Blocks until it is there, while some thread is busy and the clock cannot be turned.
  T Wait() const {
    MutexLock lock(state_->mu);
    while (!state_->value) state_->came.Wait(state_->mu);
    return *state_->value;
  }

 private:
  struct State {
    Mutex mu;
    CondVar came;
    int count ABSL_GUARDED_BY(mu) = 0;
    std::optional<T> value ABSL_GUARDED_BY(mu);
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

using CreateReply = Reply<absl::StatusOr<VersionPtr>>;

// A gateway, a Segmind and a clock that runs fast while a test waits for something.
class Rig : public ::testing::Test {
 protected:
  // A store that outlives its process. Nothing of an earlier run is there, nor left.
  void KeepStore(const std::string& name) {
    store_path_ = absl::StrCat(::testing::TempDir(), "/", name, "_", getpid(), ".db");
    RemoveStore();
  }
  void TearDown() override {
    process_.reset();
    if (store_path_ != ":memory:") RemoveStore();
  }
  void RemoveStore() const {
    for (const char* suffix : {"", "-wal", "-shm", "-mark", ".lock"})
      std::remove((store_path_ + suffix).c_str());
  }

  void StartProcess() {
    auto store = OpenSqliteStore(store_path_);
    ASSERT_TRUE(store.ok()) << store.status();
    process_ = std::make_unique<Process>(options_, *std::move(store), segmind_.Connect(), clock_);
    ASSERT_TRUE(process_->Load().ok());
    process_->tracker.Start();
  }

  // Turns the clock until the condition holds; looks each time that nothing is left to do before
  // the clock is turned on. False if a day passes without it.
  bool RunUntil(const std::function<bool()>& condition,
                absl::Duration step = absl::Milliseconds(20)) {
    const absl::Time end = clock_.Now() + absl::Hours(24);
    while (true) {
      Worker::AwaitIdleProcess();
      if (condition()) return true;
      if (clock_.Now() >= end) return false;
      clock_.Advance(step);
    }
  }
  void RunFor(absl::Duration time, absl::Duration step = absl::Milliseconds(20)) {
    const absl::Time end = clock_.Now() + time;
    RunUntil([&] { return clock_.Now() >= end; }, step);
  }

  static pb::FineTune Request(const std::string& name = "cats") {
    pb::FineTune fine_tune;
    fine_tune.set_display_name(name);
    fine_tune.set_data_source_uri("https://data.test/cats.zip");
    fine_tune.set_instance_prompt("a photo of TOK cat");
    fine_tune.set_trigger_word("TOK");
    fine_tune.set_base_model("FAST_FLUX");
    fine_tune.set_theme("subject");
    return fine_tune;
  }

  CreateReply Create(const std::string& request_id, absl::Duration timeout = absl::Seconds(10),
                     pb::FineTune fine_tune = Request()) {
    CreateReply reply;
    process_->submitter.Create({.caller = "alice",
                                .request_id = request_id,
                                .fine_tune = std::move(fine_tune),
                                .deadline = clock_.Now() + timeout},
                               reply.Taker());
    return reply;
  }

  pb::FineTune Job(const std::string& id) {
    const VersionPtr version = process_->catalog.Find(id);
    return version == nullptr ? pb::FineTune() : ToRecord(*version).fine_tune();
  }
  pb::FineTune JobAt(const std::string& upstream_id) {
    const VersionPtr version = process_->catalog.FindUpstream(upstream_id);
    return version == nullptr ? pb::FineTune() : ToRecord(*version).fine_tune();
  }
  pb::FineTune::State StateAt(const std::string& upstream_id) { return JobAt(upstream_id).state(); }
  std::string MetricsText() {
    return prometheus::TextSerializer().Serialize(process_->metrics.registry()->Collect());
  }
  size_t JobCount() { return process_->catalog.view()->size(); }

  ManualClock clock_;
  FakeSegmind segmind_{clock_};
  std::string store_path_ = ":memory:";
  Process::Options options_;
  std::unique_ptr<Process> process_;
};

}  // namespace finetune
