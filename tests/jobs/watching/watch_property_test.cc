// Random histories against the real recorder, catalog and hub. FINETUNE_HISTORIES says how many
// (default 320), FINETUNE_SEED the first one's seed. A failure prints the seed that shows it again.

#include <cstdlib>
#include <random>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/jobs/watching/watch_checker.h"
#include "tests/jobs/watching/watch_world.h"

namespace finetune {
namespace {

constexpr pb::FineTune::State kStates[] = {pb::FineTune::QUEUED, pb::FineTune::TRAINING,
                                           pb::FineTune::AVAILABLE, pb::FineTune::FAILED};
constexpr const char* kFilters[] = {"",
                                    "state = TRAINING",
                                    "creator = \"x\"",
                                    "creator = \"y\" AND state != FAILED",
                                    "state = TRAINING OR state = QUEUED",
                                    "NOT creator = \"x\""};
constexpr int kJobs = 7;

// What a client does with what it is sent.
enum class Pace { kReadsAll, kReadsOne, kStopped };

struct Client {
  Client(WatchSpec spec, WatchHistory& history) : spec(spec), checker(spec, history) {}

  WatchSpec spec;
  WatchChecker checker;
  Pace pace = Pace::kReadsAll;
  std::unique_ptr<WatchClient> stream;  // Null while it is away.
};

// One history. With `lockstep`, every step waits until all that it caused has happened: then the
// seed alone decides. Without, threads run as they will.
class History {
 public:
  History(uint64_t seed, bool lockstep) : random_(seed), lockstep_(lockstep) { Open(); }
  ~History() { Close(); }

  // What went wrong; empty if nothing.
  std::string Play() {
    const int steps = Between(30, 120);
    for (int i = 0; i < steps && Failure().empty(); ++i) {
      Step();
      ReadAtEachPace();
    }
    if (Failure().empty()) CatchUp();
    return Failure();
  }

 private:
  int Between(int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random_);
  }
  bool Chance(int percent) { return Between(1, 100) <= percent; }
  std::string Job() { return std::string(1, static_cast<char>('a' + Between(0, kJobs - 1))); }

  void Open() {
    WatchHub::Options options{.threads = Between(1, 3)};
    if (Chance(15)) options.max_pending = 3;
    constexpr size_t kWindows[] = {4, 10, 30, 1000};
    window_ = kWindows[Between(0, 3)];
    small_pending_ = options.max_pending < kJobs;
    world_ = std::make_unique<WatchWorld>(store_, clock_, options,
                                          Catalog::Options{.window_changes = window_},
                                          std::vector<CommitListener*>{&history_});
  }

  // As if the process died: streams break.
  void Close() {
    world_->recorder.Stop();
    for (auto& client : clients_) Disconnect(*client);
    world_ = nullptr;
  }

  void Step() {
    const int dice = Between(1, 100);
    if (dice <= 50) return Commit();
    if (dice <= 62) return ComeOrGo();
    if (dice <= 74) return ChangePace();
    if (dice <= 84) return Advance();
    if (dice <= 90) return Observe();
    if (dice <= 94) return Restart();
    for (int i = 0; i < 8; ++i) Commit();
  }

  void Commit() {
    struct Put {
      std::string id;
      pb::FineTune::State state;
      std::string creator;
      bool repeat;
    };
    std::vector<Put> puts;
    for (int i = Between(1, Chance(20) ? 4 : 1); i > 0; --i) {
      puts.push_back({Job(), kStates[Between(0, 3)], Chance(50) ? "x" : "y", Chance(10)});
    }
    world_->recorder.Record(
        [puts](Draft& draft) {
          for (const Put& put : puts) {
            auto known = draft.Find(put.id);
            if (known && put.repeat) {
              draft.Put(*known);
            } else {
              draft.Put(WatchWorld::RecordOf(put.id, put.state, put.creator));
            }
          }
          return absl::OkStatus();
        },
        [](absl::Status status) { EXPECT_TRUE(status.ok()) << status; });
    if (lockstep_) AwaitIdle();
  }

  // Until all that was asked for is committed and dispatched.
  void AwaitIdle() {
    EXPECT_TRUE(world_->Commit([](Draft&) {}).ok());
    world_->hub.AwaitIdle();
  }

  void ComeOrGo() {
    if (clients_.size() < 4 || Chance(20)) {
      clients_.push_back(std::make_unique<Client>(RandomSpec(), history_));
      return Connect(*clients_.back());
    }
    Client& client =
        *clients_[static_cast<size_t>(Between(0, static_cast<int>(clients_.size()) - 1))];
    if (client.stream == nullptr) return Connect(client);
    Disconnect(client);
    if (Chance(50)) Connect(client);
  }

  WatchSpec RandomSpec() {
    WatchSpec spec;
    spec.filter = *Filter::Parse(kFilters[Between(0, 5)]);
    if (Chance(30)) {
      for (int i = Between(1, 3); i > 0; --i) spec.ids.push_back(Job());
    }
    spec.every = Chance(40);
    spec.view = Chance(30) ? pb::FINE_TUNE_VIEW_FULL : pb::FINE_TUNE_VIEW_BASIC;
    spec.skip_snapshot = Chance(15);
    spec.fail_on_gap = Chance(20);
    spec.heartbeat_interval = absl::Seconds(Between(1, 60));
    return spec;
  }

  void Connect(Client& client) {
    client.stream = std::make_unique<WatchClient>();
    WatchSpec spec = client.spec;
    if (!client.checker.token().empty()) spec.resume = *DecodeResumeToken(client.checker.token());
    client.checker.Begin(spec.resume.has_value());
    const bool gap =
        spec.resume.has_value() && spec.resume->revision < world_->catalog.window_start();
    const absl::Status status = client.stream->Start(world_->hub, spec);
    if (!status.ok()) {
      if (!spec.fail_on_gap || ReasonOf(status) != pb::ErrorReason::RESUME_TOKEN_EXPIRED)
        Fail(status.ToString());
      Bury(client);
      client.checker.Begin(/*resumed=*/false);
      return;
    }
    if (!lockstep_ || small_pending_) return;
    const auto first = client.stream->Peek();
    if (gap != (first && first->has_restart())) Fail("a reset without a gap, or a gap without one");
  }

  // What is on its way may or may not arrive.
  void Disconnect(Client& client) {
    if (client.stream == nullptr) return;
    if (Chance(50)) {
      if (const auto message = client.stream->Peek()) client.checker.See(*message);
    }
    client.stream->Break();
    Bury(client);
  }

  // Whoever called Finish may not have returned from it yet.
  void Bury(Client& client) { finished_.push_back(std::move(client.stream)); }

  void ChangePace() {
    if (clients_.empty()) return;
    Client& client =
        *clients_[static_cast<size_t>(Between(0, static_cast<int>(clients_.size()) - 1))];
    client.pace = static_cast<Pace>(Between(0, 2));
  }

  void Advance() {
    clock_.Advance(Chance(5) ? absl::Minutes(Between(1, 40)) : absl::Seconds(Between(1, 60)));
    if (lockstep_) world_->hub.AwaitIdle();
  }

  // As the tracker does: what a read of Segmind found is committed, then it is said when it began.
  void Observe() {
    const absl::Time began = clock_.Now();
    Commit();
    EXPECT_TRUE(world_->Commit([](Draft&) {}).ok());
    history_.Observed(began);
    world_->catalog.SetObserveTime(began);
    clock_.Advance(absl::Seconds(1));
    if (lockstep_) world_->hub.AwaitIdle();
  }

  void Restart() {
    if (Chance(50)) {
      world_->hub.Drain(absl::Seconds(2), absl::ZeroDuration(), nullptr);
      clock_.Advance(absl::Seconds(2));
      world_->hub.AwaitIdle();
      for (auto& client : clients_) ReadAll(*client);
    }
    Close();
    Open();
    for (auto& client : clients_) {
      if (Chance(70)) Connect(*client);
    }
  }

  bool ReadOne(Client& client) {
    if (client.stream == nullptr) return false;
    const auto message = client.stream->Peek();
    if (message) {
      client.checker.See(*message);
      client.stream->Read();
    }
    if (const auto status = client.stream->finished()) {
      const pb::ErrorReason::Reason reason = ReasonOf(*status);
      if (reason == pb::ErrorReason::RESUME_TOKEN_EXPIRED) {
        if (!client.spec.fail_on_gap) Fail("a gap that should have been a reset");
        client.checker.Begin(/*resumed=*/false);
      } else if (reason != pb::ErrorReason::SERVER_DRAINING) {
        Fail(absl::StrCat("a stream ended with ", status->ToString()));
      }
      Bury(client);
    }
    return message.has_value();
  }
  void ReadAll(Client& client) {
    while (ReadOne(client)) {
    }
  }
  void ReadAtEachPace() {
    for (auto& client : clients_) {
      if (client->pace == Pace::kReadsAll) ReadAll(*client);
      if (client->pace == Pace::kReadsOne) ReadOne(*client);
    }
  }

  // Everybody reads until a heartbeat has told them that they know it all.
  void CatchUp() {
    for (int round = 0; round < 4; ++round) {
      for (auto& client : clients_) {
        if (client->stream == nullptr) Connect(*client);
      }
      AwaitIdle();
      for (auto& client : clients_) ReadAll(*client);
      clock_.Advance(absl::Seconds(60));
      world_->hub.AwaitIdle();
      for (auto& client : clients_) ReadAll(*client);
    }
    for (auto& client : clients_) {
      if (client->stream != nullptr) client->checker.End();
    }
  }

  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  std::string Failure() const {
    if (!failure_.empty()) return failure_;
    for (size_t i = 0; i < clients_.size(); ++i) {
      const std::string& failure = clients_[i]->checker.failure();
      if (!failure.empty()) return absl::StrCat("client ", i, ": ", failure);
    }
    return "";
  }

  std::mt19937_64 random_;
  const bool lockstep_;
  WatchMemoryStore store_;
  ManualClock clock_;
  WatchHistory history_;
  size_t window_ = 0;
  bool small_pending_ = false;
  std::unique_ptr<WatchWorld> world_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<WatchClient>> finished_;
  std::string failure_;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

// In parts, so that they can run beside each other.
constexpr uint64_t kParts = 8;

class WatchProperty : public testing::TestWithParam<uint64_t> {};

TEST_P(WatchProperty, NoClientIsEverToldWrong) {
  const uint64_t histories = FromEnvironment("FINETUNE_HISTORIES", 320);
  const uint64_t base = FromEnvironment("FINETUNE_SEED", std::random_device()());
  const uint64_t first = base + histories * GetParam() / kParts;
  const uint64_t end = base + histories * (GetParam() + 1) / kParts;
  std::printf("seeds %llu to %llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(end));
  for (uint64_t seed = first; seed < end; ++seed) {
    const std::string failure = History(seed, /*lockstep=*/seed % 2 == 0).Play();
    ASSERT_EQ(failure, "") << "FINETUNE_SEED=" << seed << " FINETUNE_HISTORIES=1 shows it again";
    ASSERT_FALSE(HasFailure()) << "FINETUNE_SEED=" << seed << " FINETUNE_HISTORIES=1";
  }
}

INSTANTIATE_TEST_SUITE_P(Part, WatchProperty, testing::Range(uint64_t{0}, kParts));

}  // namespace
}  // namespace finetune
