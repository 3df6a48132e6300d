#include "server/store/postgres_fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <map>
#include <thread>

#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/mutex.h"
#include "server/store/postgres_schema.h"
#include "server/store/postgres_store.h"
#include "tests/store/postgres_server.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// One process, as far as the fleet goes: what it was told, in order.
class Member : public FleetListener {
 public:
  Member(const PostgresServer& server, const std::string& name,
         const std::function<void(PostgresFleetOptions&)>& change = {}) {
    auto store = OpenPostgresStore({.target = {.url = server.Url("record")},
                                    .name = name,
                                    .lease = absl::Milliseconds(1'200)});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    EXPECT_TRUE(store_->Load().ok());
    PostgresFleetOptions options{.target = {.url = server.Url("record")},
                                 .interval = absl::Milliseconds(200),
                                 .leader_lease = absl::Milliseconds(900),
                                 .caution = absl::Milliseconds(200),
                                 .stand_back = absl::Milliseconds(500)};
    if (change) change(options);
    fleet_ = MakePostgresFleet(options, store_->membership());
    fleet_->Start(*this, [this] { return revision_.load(); });
  }
  ~Member() override { fleet_->Stop(); }

  Fleet& fleet() { return *fleet_; }
  void SetWriter(bool has) { store_->membership().SetWriter(has, SteadyNow() - absl::Minutes(1)); }
  // What its recorder does upon a word that it was taken for gone: it comes under another name.
  void Rejoin() {
    const std::string before = store_->membership().id();
    while (store_->membership().id() == before) (void)store_->Read({});
  }
  void SetRevision(uint64_t revision) { revision_ = revision; }
  // Its thread stands still, as if the process were stopped, until Continue.
  void Pause() {
    MutexLock lock(mu_);
    paused_ = true;
  }
  void Continue() {
    MutexLock lock(mu_);
    paused_ = false;
    changed_.NotifyAll();
  }

  std::shared_ptr<const LeaderLease> lease() const {
    MutexLock lock(mu_);
    return lease_;
  }
  bool leads() const { return lease() != nullptr; }
  template <typename Condition>
  void Await(const Condition& condition) {
    const absl::Time until = SteadyNow() + absl::Seconds(30);
    MutexLock lock(mu_);
    while (!condition() && SteadyNow() < until) changed_.WaitFor(mu_, absl::Milliseconds(20));
    EXPECT_TRUE(condition());
  }
  void AwaitLead() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Await([this] { return lease_ != nullptr; });
  }
  void AwaitFollow() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Await([this] { return lease_ == nullptr; });
  }

  void OnLead(std::shared_ptr<const LeaderLease> lease) override {
    Note([&] { lease_ = std::move(lease); });
  }
  void OnFollow() override {
    Note([&] { lease_ = nullptr; });
  }
  void OnHints(const std::vector<FleetHint>& hints) override {
    Note([&] {
      for (const FleetHint& hint : hints) {
        hints_.push_back(hint.upstream_id);
        traces_[hint.upstream_id] = hint.trace.Traceparent();
      }
    });
  }
  void OnWake() override {
    Note([&] { ++wakes_; });
  }
  void OnWanted(uint64_t ticket) override {
    Note([&] { wanted_ = ticket; });
  }
  void OnReading(const FleetReading& reading) override {
    Note([&] { reading_ = reading; });
  }

  std::vector<std::string> hints_;
  std::map<std::string, std::string> traces_;
  int wakes_ = 0;
  uint64_t wanted_ = 0;
  FleetReading reading_;

 private:
  template <typename Change>
  void Note(const Change& change) {
    MutexLock lock(mu_);
    change();
    changed_.NotifyAll();
    while (paused_) changed_.Wait(mu_);
  }

  std::atomic<uint64_t> revision_{0};
  mutable Mutex mu_;
  CondVar changed_;
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  std::shared_ptr<const LeaderLease> lease_;  // Guarded by mu_, in lambdas, too.
  std::unique_ptr<Store> store_;
  std::unique_ptr<Fleet> fleet_;
};

class PostgresFleetTest : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_TRUE(PreparePostgresTables(*Connect(), "e", absl::Now() + absl::Seconds(20)).ok());
  }
  std::unique_ptr<PgConnection> Connect() {
    return PgConnection::Open({.url = server_.Url("record")}, absl::Now() + absl::Seconds(10))
        .value();
  }
  void Execute(const char* sql) { ASSERT_EQ(server_.Execute("record", sql), ""); }
  static absl::StatusOr<uint64_t> Want(Fleet& fleet) {
    std::promise<absl::StatusOr<uint64_t>> done;
    fleet.WantRead([&](absl::StatusOr<uint64_t> ticket) { done.set_value(std::move(ticket)); });
    return done.get_future().get();
  }
  static absl::StatusOr<CallBudget::Answer> AskCall(Fleet& fleet, int kind = 0) {
    std::promise<absl::StatusOr<CallBudget::Answer>> done;
    fleet.calls()->Ask(kind, [&](auto answer) { done.set_value(std::move(answer)); });
    return done.get_future().get();
  }
};

TEST_F(PostgresFleetTest, OneLeadsAndAnotherFollowsItAtOnceWhenItStops) {
  auto a = std::make_unique<Member>(server_, "a");
  a->AwaitLead();
  Member b(server_, "b");
  b.Await([&] { return b.fleet().status().members.size() == 2; });
  EXPECT_FALSE(b.leads());
  const FleetStatus status = b.fleet().status();
  EXPECT_EQ(status.leader_name, "a");
  EXPECT_EQ(status.term, a->lease()->term);
  EXPECT_EQ(status.members[0].version, FINETUNE_VERSION);
  EXPECT_TRUE(status.members[0].leads);
  EXPECT_TRUE(status.members[1].is_me);
  const auto first = a->lease();
  const absl::Time stopped = SteadyNow();
  a.reset();
  b.AwaitLead();
  // It was told, and did not wait for the lease to end.
  EXPECT_LT(SteadyNow() - stopped, absl::Milliseconds(700));
  EXPECT_GT(b.lease()->term.number, first->term.number);
  b.Await([&] { return b.fleet().status().members.size() == 1; });
}

TEST_F(PostgresFleetTest, WhoeverWasStoppedTrustsItselfNoLongerThanOthersWait) {
  Member a(server_, "a");
  a.AwaitLead();
  Member b(server_, "b");
  b.Await([&] { return b.fleet().status().members.size() == 2; });
  const auto before = a.lease();
  EXPECT_TRUE(before->Holds(SteadyNow()));
  a.Pause();
  b.fleet().Wake();  // Its thread is in OnWake from now on.
  b.AwaitLead();
  EXPECT_FALSE(before->Holds(SteadyNow()));
  a.Continue();
  a.AwaitFollow();
  EXPECT_TRUE(b.lease()->Holds(SteadyNow()));
}

TEST_F(PostgresFleetTest, KnowsWhetherCommitsWaitForAStandby) {
  Member a(server_, "a");
  a.AwaitLead();
  EXPECT_FALSE(a.fleet().status().is_synchronous);
  EXPECT_LT(absl::AbsDuration(a.fleet().status().skew), absl::Seconds(1));
  // Nobody commits any more now, but for those who do not wait.
  Execute("ALTER SYSTEM SET synchronous_standby_names = 'somebody'");
  Execute("SELECT pg_reload_conf()");
  a.Await([&] { return a.fleet().status().is_synchronous; });
  Execute("ALTER SYSTEM RESET synchronous_standby_names");
  Execute("SELECT pg_reload_conf()");
  a.Await([&] { return !a.fleet().status().is_synchronous; });
}

TEST_F(PostgresFleetTest, WhoRetiresLeadsNoMoreButStaysAMember) {
  Member a(server_, "a");
  a.AwaitLead();
  // Nobody would take over.
  a.fleet().Retire();
  EXPECT_TRUE(a.leads());
  Member b(server_, "b");
  b.AwaitLead();
  EXPECT_FALSE(a.leads());
  Member c(server_, "c");
  b.Await([&] { return b.fleet().status().members.size() == 3; });
  b.fleet().Retire();
  EXPECT_FALSE(b.leads());
  c.AwaitLead();
  EXPECT_FALSE(a.leads() || b.leads());
  EXPECT_THAT(c.fleet().status().members, SizeIs(3));
}

TEST_F(PostgresFleetTest, TellsTheLeaderWhatOthersHeardAndWant) {
  Member a(server_, "a");
  a.AwaitLead();
  Member b(server_, "b");
  const std::string traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  b.fleet().Hint({"job-1", *ParseTraceparent(traceparent)});
  b.fleet().Hint({"job-1", {}});
  b.fleet().Hint({"job-2", {}});
  // What no text can hold must not keep the rest from being told.
  b.fleet().Hint({std::string("job\0x", 5), {}});
  b.fleet().Hint({"\xff\xfe", {}});
  b.fleet().Wake();
  a.Await([&] { return a.wakes_ == 1 && a.hints_.size() >= 3; });
  EXPECT_THAT(a.hints_, testing::IsSupersetOf({"job-1", "job-2", ""}));
  // What is read upon it goes on with the caller's trace.
  EXPECT_EQ(a.traces_.at("job-1"), traceparent);
  EXPECT_EQ(a.traces_.at("job-2"), TraceContext().Traceparent());
  const auto ticket = Want(b.fleet());
  ASSERT_TRUE(ticket.ok()) << ticket.status();
  a.Await([&] { return a.wanted_ == *ticket; });
  const absl::Time list = SteadyNow();
  a.fleet().Tell({.list_time = list,
                  .not_shown = {{"x", list - absl::Seconds(5)}, {"y", absl::InfinitePast()}},
                  .revision = 7,
                  .partial = true,
                  .served = *ticket,
                  .failed = 3,
                  .failure = Error(absl::StatusCode::kUnavailable,
                                   pb::ErrorReason::UPSTREAM_UNAVAILABLE, "it is away")});
  b.Await([&] { return b.reading_.served == *ticket; });
  // Within the exactness of clocks, and never later than it was.
  EXPECT_LE(b.reading_.list_time, list);
  EXPECT_GE(b.reading_.list_time, list - absl::Seconds(1));
  EXPECT_LE(b.reading_.not_shown.at("x"), list - absl::Seconds(5));
  EXPECT_EQ(b.reading_.not_shown.at("y"), absl::InfinitePast());
  EXPECT_EQ(b.reading_.revision, 7u);
  EXPECT_TRUE(b.reading_.partial);
  EXPECT_EQ(b.reading_.failed, 3u);
  EXPECT_EQ(ReasonOf(b.reading_.failure), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
  // A new leader is told of what was wanted: it serves it, or what came after it.
  a.Await([&] { return a.fleet().status().members.size() == 2; });
  a.fleet().Retire();
  b.AwaitLead();
  b.Await([&] { return b.wanted_ == *ticket; });
}

TEST_F(PostgresFleetTest, ALeaderThatCannotReadGivesUpNowAndThenIfThereAreOthers) {
  // Whoever gave up waits for half a second for another one.
  if (std::getenv("FINETUNE_SANITIZER_RUN")) GTEST_SKIP() << "the other one has to be quick";
  Member a(server_, "a");
  a.AwaitLead();
  a.fleet().GiveUp();
  a.fleet().WantRead([](auto) {});
  ASSERT_TRUE(Want(a.fleet()).ok());
  EXPECT_TRUE(a.leads());  // Alone, it goes on.
  Member b(server_, "b");
  a.Await([&] { return a.fleet().status().members.size() == 2; });
  a.fleet().GiveUp();
  b.AwaitLead();
  a.AwaitFollow();
  b.fleet().GiveUp();
  a.AwaitLead();
  a.Await([&] { return b.fleet().status().leader_name == "a"; });
  // It did so a moment ago.
  a.fleet().GiveUp();
  ASSERT_TRUE(Want(a.fleet()).ok());
  EXPECT_TRUE(a.leads());
}

TEST_F(PostgresFleetTest, StandsDownWhenTheRecorderWasFenced) {
  Member a(server_, "a");
  a.AwaitLead();
  const auto before = a.lease();
  a.fleet().OnFenced({before->term.number, "somebody else"});
  ASSERT_TRUE(Want(a.fleet()).ok());
  EXPECT_TRUE(a.leads());
  a.fleet().OnFenced(before->term);
  // Nobody else leads in truth: it does anew, once that lease has ended.
  a.Await([&] { return a.fleet().status().term.number > before->term.number; });
  EXPECT_FALSE(before->Holds(SteadyNow()));
}

TEST_F(PostgresFleetTest, WhoCannotWriteLeavesLeadAndConnectionToOthers) {
  Member a(server_, "a");
  a.AwaitLead();
  Member b(server_, "b");
  a.SetWriter(false);
  b.AwaitLead();
  a.AwaitFollow();
  EXPECT_TRUE(absl::IsUnavailable(Want(a.fleet()).status()));
  b.SetWriter(false);
  b.AwaitFollow();
  a.SetWriter(true);
  a.AwaitLead();
}

TEST_F(PostgresFleetTest, ALeaderThatWasTakenForGoneLeadsAnewUnderItsOtherName) {
  Member a(server_, "a");
  a.AwaitLead();
  const auto before = a.lease();
  // As who took over what it owned would leave it.
  Execute("UPDATE finetune.members SET expires = 0");
  a.Rejoin();
  a.Await([&] { return a.fleet().status().term.number > before->term.number; });
  EXPECT_FALSE(before->Holds(SteadyNow()));
  a.AwaitLead();
  EXPECT_NE(a.lease()->term.holder, before->term.holder);
  const FleetStatus status = a.fleet().status();
  EXPECT_EQ(status.term, a.lease()->term);
  ASSERT_THAT(status.members, SizeIs(1)) << "the other name counts no more";
  EXPECT_TRUE(status.members[0].is_me);
  EXPECT_TRUE(status.members[0].leads);
}

TEST_F(PostgresFleetTest, NoMoreCallsAreGrantedThanTheAccountAllowsInAMinute) {
  const auto few = [](PostgresFleetOptions& options) { options.calls_per_minute = 20; };
  Member a(server_, "a", few), b(server_, "b", few), c(server_, "c", few);
  a.Await([&] { return a.fleet().status().term.number > 0; });
  std::atomic<int> granted{0}, refused{0};
  std::vector<std::thread> threads;
  for (Member* member : {&a, &b, &c}) {
    threads.emplace_back([&, member] {
      for (int i = 0; i < 15; ++i) {
        const auto answer = AskCall(member->fleet(), i % 3);
        ASSERT_TRUE(answer.ok()) << answer.status();
        ++(answer->granted ? granted : refused);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // A grant that came late is not used.
  EXPECT_LE(granted, 20);
  EXPECT_GE(granted, 15);
  EXPECT_EQ(granted + refused, 45);
  EXPECT_THAT(AskCall(a.fleet())->picture.calls, SizeIs(20));
  // They come back a minute after each was taken.
  Execute("UPDATE finetune.upstream_calls SET at = at - 60000000000");
  EXPECT_EQ(AskCall(a.fleet())->granted, std::nullopt);
  Execute("UPDATE finetune.upstream_calls SET at = at - 500000000 WHERE slot = 3");
  std::optional<uint64_t> call;
  while (!call) call = AskCall(b.fleet(), 2)->granted;
  const CallBudget::Picture picture = AskCall(a.fleet())->picture;
  EXPECT_EQ(picture.calls.back().id, *call);
  EXPECT_EQ(picture.calls.back().kind, 2);
  // Nobody calls while Segmind wants to be left alone.
  Execute("UPDATE finetune.upstream_calls SET at = 0");
  b.fleet().calls()->HoldUntil(SteadyNow() + absl::Minutes(1));
  EXPECT_EQ(AskCall(b.fleet())->granted, std::nullopt);
  const auto held = AskCall(a.fleet());
  EXPECT_EQ(held->granted, std::nullopt);
  EXPECT_GE(held->picture.hold_until, SteadyNow() + absl::Seconds(55));
}

TEST_F(PostgresFleetTest, ALowerLimitHoldsFromTheNextTermOn) {
  auto a = std::make_unique<Member>(server_, "a");
  a->AwaitLead();
  const auto few = [](PostgresFleetOptions& options) { options.calls_per_minute = 3; };
  Member b(server_, "b", few);
  a.reset();
  b.AwaitLead();
  int granted = 0;
  for (int i = 0; i < 10; ++i) granted += AskCall(b.fleet())->granted ? 1 : 0;
  EXPECT_LE(granted, 3);
}

TEST_F(PostgresFleetTest, WithoutTheDatabaseNothingIsGrantedAndNobodyLeads) {
  Member a(server_, "a");
  a.AwaitLead();
  const auto before = a.lease();
  a.Await([&] { return a.fleet().status().reachable; });
  server_.Stop(SIGQUIT);
  a.AwaitFollow();
  EXPECT_FALSE(before->Holds(SteadyNow()));
  EXPECT_EQ(ReasonOf(Want(a.fleet()).status()), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_EQ(ReasonOf(AskCall(a.fleet()).status()), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_FALSE(a.fleet().status().reachable);
  a.Await([&] { return a.fleet().status().leader_name.empty(); });
  EXPECT_FALSE(a.fleet().status().members.at(0).leads);
  // Said while nobody could hear it.
  a.fleet().Hint({"job-1", {}});
  a.fleet().Wake();
  server_.Start();
  a.AwaitLead();
  a.Await([&] { return a.wakes_ == 1 && !a.hints_.empty(); });
  EXPECT_THAT(a.hints_, ElementsAre("job-1"));
  EXPECT_TRUE(AskCall(a.fleet()).ok());
}

TEST_F(PostgresFleetTest, KnowsWhenTheViewLackedNothing) {
  Member a(server_, "a");
  a.Await([&] { return a.fleet().status().complete > absl::InfinitePast(); });
  Execute("UPDATE finetune.meta SET revision = 5");
  a.Await([&] { return a.fleet().status().seen > a.fleet().status().complete; });
  a.SetRevision(5);
  a.Await([&] { return a.fleet().status().seen == a.fleet().status().complete; });
}

TEST(SoloFleet, LeadsFromTheStartAndNeedsNobody) {
  class Listener : public FleetListener {
   public:
    void OnLead(std::shared_ptr<const LeaderLease> lease) override { lease_ = std::move(lease); }
    void OnFollow() override {}
    void OnHints(const std::vector<FleetHint>&) override {}
    void OnWake() override {}
    void OnWanted(uint64_t) override {}
    void OnReading(const FleetReading&) override {}
    std::shared_ptr<const LeaderLease> lease_;
  } listener;
  SoloFleet fleet({.id = "me", .name = "pod"});
  fleet.Start(listener, [] { return uint64_t{0}; });
  ASSERT_NE(listener.lease_, nullptr);
  EXPECT_TRUE(listener.lease_->Holds(SteadyNow() + absl::Hours(24 * 365)));
  EXPECT_EQ(fleet.calls(), nullptr);
  EXPECT_FALSE(fleet.is_shared());
  EXPECT_EQ(fleet.status().leader_name, "pod");
  EXPECT_THAT(fleet.status().members, SizeIs(1));
}

}  // namespace
}  // namespace finetune
