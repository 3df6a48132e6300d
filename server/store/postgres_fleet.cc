#include "server/store/postgres_fleet.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "server/base/backoff.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/store/database_clock.h"
#include "server/store/fleet_dangers.h"
#include "server/store/fleet_leadership.h"
#include "server/store/postgres_calls.h"
#include "server/store/postgres_leader.h"
#include "server/store/postgres_look.h"
#include "server/store/postgres_outbox.h"
#include "server/store/postgres_session.h"
#include "server/store/reading_bytes.h"

namespace finetune {
namespace {

constexpr char kListen[] = "LISTEN finetune_fleet";

constexpr absl::Duration kFirstReconnect = absl::Milliseconds(100);
constexpr absl::Duration kLastReconnect = absl::Seconds(2);
// A lease that has just run out may be the other's to renew for this long.
constexpr absl::Duration kAfterExpiry = absl::Milliseconds(20);
constexpr absl::Duration kRetirePatience = absl::Milliseconds(500);
constexpr absl::Duration kLogRefusalEvery = absl::Minutes(1);
constexpr int kMostShared = 2'000;
constexpr size_t kMostTraces = 1'000;

class PostgresFleet : public Fleet {
 public:
  PostgresFleet(const PostgresFleetOptions& options, const Membership& membership)
      : options_(options),
        membership_(membership),
        wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
        calls_([this] { WakeThread(); }),
        leadership_({.lease = options.leader_lease,
                     .caution = options.caution,
                     .give_up_every = options.give_up_every,
                     .stand_back = options.stand_back}) {
    CHECK(wake_fd_ >= 0);
    status_.reachable = false;
  }
  ~PostgresFleet() override {
    Stop();
    close(wake_fd_);
  }

  void Start(FleetListener& listener, std::function<uint64_t()> view_revision) override;
  void Stop() override ABSL_LOCKS_EXCLUDED(mu_);
  void Retire() override ABSL_LOCKS_EXCLUDED(mu_);
  bool is_shared() const override { return true; }
  FleetStatus status() const override ABSL_LOCKS_EXCLUDED(mu_);
  void Hint(FleetHint hint) override ABSL_LOCKS_EXCLUDED(mu_);
  void Wake() override ABSL_LOCKS_EXCLUDED(mu_);
  void WantRead(WantDone done) override ABSL_LOCKS_EXCLUDED(mu_);
  void Tell(const FleetReading& reading) override ABSL_LOCKS_EXCLUDED(mu_);
  void GiveUp() override ABSL_LOCKS_EXCLUDED(mu_);
  void OnFenced(const LeaderTerm& term) override ABSL_LOCKS_EXCLUDED(mu_);
  CallBudget* calls() override {
    return options_.calls_per_minute <= kMostShared ? &calls_ : nullptr;
  }

 private:
  void WakeThread() const {
    const uint64_t one = 1;
    (void)!write(wake_fd_, &one, sizeof one);
  }
  // Fleet's thread only, from here on.
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  void Work();
  void Rest();
  void Leave() ABSL_LOCKS_EXCLUDED(mu_);
  void TakeOrders() ABSL_LOCKS_EXCLUDED(mu_);
  bool Connect();
  // A connection that broke is dropped.
  PgError Ask(const std::vector<PgQuery>& queries, std::vector<PgRows>& rows);
  void Drop(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  void LookAround();
  // `could_write`: the leader asked for its lease to be renewed.
  void TakeLook(absl::Time sent, const std::vector<PgRows>& rows, bool could_write)
      ABSL_LOCKS_EXCLUDED(mu_);
  void SetStatus(absl::Time sent, const FleetLook& look) ABSL_LOCKS_EXCLUDED(mu_);
  void Lead(const FleetLook& look);
  void Follow(const FleetLook& look);
  void TakeOver();
  // Leads no more. Others may at once, if they are told.
  void StandDown(const char* why, bool tell);
  void Say() ABSL_LOCKS_EXCLUDED(mu_);

  bool leads() const { return leadership_.leads(); }

  // Constant after construction, or Start.
  const PostgresFleetOptions options_;
  const Membership& membership_;
  const int wake_fd_;
  FleetListener* listener_ = nullptr;
  std::function<uint64_t()> view_revision_;

  // Thread-safe themselves.
  PostgresCalls calls_;
  PostgresOutbox outbox_;

  // Fleet's thread only.
  std::unique_ptr<PostgresSession> session_;
  DatabaseClock clock_;
  Backoff backoff_{kFirstReconnect, kLastReconnect};
  absl::Time connect_at_ = absl::InfinitePast();
  absl::Time next_look_ = absl::InfinitePast();
  FleetLeadership leadership_;
  bool has_others_ = false;
  FleetDangers dangers_;
  absl::Time log_refusal_at_ = absl::InfinitePast();
  uint64_t wanted_ = 0;                                    // What the listener was told.
  std::string reading_seen_;                               // Likewise.
  absl::flat_hash_map<std::string, TraceContext> traces_;  // Of hints that are in the table.

  mutable Mutex mu_;
  CondVar retired_;
  FleetStatus status_ ABSL_GUARDED_BY(mu_);
  absl::Time leader_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();  // As it was seen.
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool retiring_ ABSL_GUARDED_BY(mu_) = false;
  bool is_retired_ ABSL_GUARDED_BY(mu_) = false;
  bool giving_up_ ABSL_GUARDED_BY(mu_) = false;
  LeaderTerm fenced_ ABSL_GUARDED_BY(mu_);

  std::unique_ptr<Thread> thread_;
};

// ---- Any thread ----

void PostgresFleet::Start(FleetListener& listener, std::function<uint64_t()> view_revision) {
  listener_ = &listener;
  view_revision_ = std::move(view_revision);
  thread_ = std::make_unique<Thread>("fleet", [this] { Run(); });
}

void PostgresFleet::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  WakeThread();
  if (thread_ != nullptr) thread_->Join();
}

void PostgresFleet::Retire() {
  if (thread_ == nullptr) return;
  const absl::Time until = SteadyNow() + kRetirePatience;
  {
    MutexLock lock(mu_);
    retiring_ = true;
  }
  WakeThread();
  MutexLock lock(mu_);
  while (!is_retired_ && SteadyNow() < until) retired_.WaitFor(mu_, until - SteadyNow());
}

FleetStatus PostgresFleet::status() const {
  FleetStatus status;
  absl::Time leader_until;
  {
    MutexLock lock(mu_);
    status = status_;
    leader_until = leader_until_;
  }
  // Nobody was seen to have renewed it since.
  if (SteadyNow() > leader_until) {
    status.leader_name.clear();
    for (FleetMember& member : status.members) member.leads = false;
  }
  return status;
}

void PostgresFleet::Hint(FleetHint hint) {
  outbox_.AddHint(std::move(hint));
  WakeThread();
}

void PostgresFleet::Wake() {
  outbox_.AddWake();
  WakeThread();
}

void PostgresFleet::WantRead(WantDone done) {
  outbox_.AddWant(std::move(done));
  WakeThread();
}

void PostgresFleet::Tell(const FleetReading& reading) {
  outbox_.SetReading(reading);
  WakeThread();
}

void PostgresFleet::GiveUp() {
  {
    MutexLock lock(mu_);
    giving_up_ = true;
  }
  WakeThread();
}

void PostgresFleet::OnFenced(const LeaderTerm& term) {
  {
    MutexLock lock(mu_);
    fenced_ = term;
  }
  WakeThread();
}

// ---- The thread ----

void PostgresFleet::Run() {
  while (true) {
    {
      MutexLock lock(mu_);
      if (stopping_) break;
    }
    Work();
    Rest();
  }
  Leave();
}

void PostgresFleet::Work() {
  // Before all else: this thread may have been stopped for a while.
  if (leadership_.has_lapsed(SteadyNow())) StandDown("its lease ran out", /*tell=*/false);
  TakeOrders();
  if (session_ != nullptr || Connect()) {
    if (SteadyNow() >= next_look_) LookAround();
    if (session_ != nullptr) Say();
    if (session_ != nullptr) {
      const PgError error = calls_.Run(session_->connection(), clock_, options_.patience);
      if (session_->connection().broken()) Drop(PgUnavailable(error));
    }
  }
  if (session_ != nullptr) return;
  const absl::Status away = PgUnavailable({"", "there is no connection to it"});
  calls_.Refuse(away);
  outbox_.RefuseWants(away);
}

// Until something is to be done, or said.
void PostgresFleet::Rest() {
  const absl::Time now = SteadyNow();
  absl::Time next = session_ != nullptr ? next_look_ : connect_at_;
  if (leads()) next = std::min(next, now + options_.interval / 4);
  const absl::Duration rest = std::max(absl::ZeroDuration(), next - now);
  std::vector<std::string> said;
  if (session_ != nullptr) {
    const PgError error = session_->connection().Wait(wake_fd_, SteadyNow() + rest, said);
    if (!error.ok()) Drop(PgUnavailable(error));
  } else {
    pollfd waiting{.fd = wake_fd_, .events = POLLIN, .revents = 0};
    poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(rest)) + 1);
  }
  uint64_t ignored;
  (void)!read(wake_fd_, &ignored, sizeof ignored);
  for (const std::string& word : said) {
    if (word == (leads() ? kFleetToLeader : kFleetToAll)) next_look_ = absl::InfinitePast();
    if (word == kFleetWake && leads()) listener_->OnWake();
    if (auto hint = leads() ? HintOfTraceWord(word) : std::nullopt;
        hint && traces_.size() < kMostTraces)
      traces_.emplace(std::move(hint->upstream_id), std::move(hint->trace));
  }
}

void PostgresFleet::TakeOrders() {
  bool retires, gives_up;
  LeaderTerm fenced;
  {
    MutexLock lock(mu_);
    retires = retiring_ && !is_retired_;
    gives_up = std::exchange(giving_up_, false);
    fenced = std::exchange(fenced_, {});
  }
  if (leads() && *leadership_.term() == fenced) {
    StandDown("its term is over", /*tell=*/false);
    next_look_ = absl::InfinitePast();
  }
  if (leads() && gives_up && has_others_ && leadership_.GivesUp(SteadyNow()))
    StandDown("it cannot read Segmind", /*tell=*/true);
  if (!retires) return;
  leadership_.Retire();
  if (leads() && has_others_) StandDown("it is about to stop", /*tell=*/true);
  MutexLock lock(mu_);
  is_retired_ = true;
  retired_.NotifyAll();
}

void PostgresFleet::Leave() {
  if (leads()) StandDown("it stops", /*tell=*/true);
  calls_.Stop();
  outbox_.Close();
  session_.reset();
}

bool PostgresFleet::Connect() {
  if (SteadyNow() < connect_at_) return false;
  if (membership_.LacksWriter(SteadyNow())) {
    connect_at_ = SteadyNow() + kFirstReconnect;
    return false;
  }
  auto session = PostgresSession::OpenBeside(options_.target, SteadyNow() + options_.patience);
  std::vector<PgRows> rows;
  PgError error;
  if (session.ok()) {
    // A heartbeat that is lost is followed by another one.
    error = (*session)->connection().Run({{"SET synchronous_commit = off"}, {kListen}},
                                         SteadyNow() + options_.patience, rows);
  }
  if (!session.ok() || !error.ok()) {
    Drop(session.ok() ? PgUnavailable(error) : session.status());
    return false;
  }
  session_ = *std::move(session);
  calls_.OnConnected();
  backoff_.Reset();
  next_look_ = absl::InfinitePast();
  return true;
}

void PostgresFleet::Drop(const absl::Status& why) {
  session_.reset();
  connect_at_ = SteadyNow() + backoff_.Next();
  bool was_reachable;
  {
    MutexLock lock(mu_);
    was_reachable = std::exchange(status_.reachable, false);
  }
  if (was_reachable)
    Log(LogLevel::kWarning, "the other gateways cannot be reached",
        {{"error", std::string(why.message())}});
}

PgError PostgresFleet::Ask(const std::vector<PgQuery>& queries, std::vector<PgRows>& rows) {
  PgConnection& connection = session_->connection();
  PgError error = connection.Run(queries, SteadyNow() + options_.patience, rows);
  if (error.ok()) return error;
  if (!connection.broken()) {
    std::vector<PgRows> ignored;
    (void)connection.Run({{"ROLLBACK"}}, SteadyNow() + options_.patience, ignored);
    if (SteadyNow() >= log_refusal_at_) {
      Log(LogLevel::kWarning, "the database refuses what a gateway tells the others",
          {{"error", error.words()}});
      log_refusal_at_ = SteadyNow() + kLogRefusalEvery;
    }
  }
  if (connection.broken()) Drop(PgUnavailable(error));
  return error;
}

// ---- Looks ----

void PostgresFleet::LookAround() {
  std::vector<PgRows> rows;
  absl::Time sent = SteadyNow();
  next_look_ = sent + options_.interval;
  const PgError error = Ask(LookQueries(leadership_.term(), options_.leader_lease), rows);
  if (error.ok()) return TakeLook(sent, rows, /*could_write=*/true);
  if (session_ == nullptr) return;
  // What is there can be seen all the same.
  sent = SteadyNow();
  if (Ask(LookOnlyQueries(), rows).ok()) TakeLook(sent, rows, /*could_write=*/false);
}

void PostgresFleet::TakeLook(absl::Time sent, const std::vector<PgRows>& rows, bool could_write) {
  const std::optional<FleetLook> look = LookOf(rows, sent, membership_.id(), clock_);
  if (!look) {
    Drop(PgUnavailable({"", "a table of the fleet's lacks its row"}));
    return;
  }
  if (leads() && look->is_renewed)
    leadership_.Renew(sent);
  else if (leads() && could_write)
    StandDown("its lease was not renewed in time", /*tell=*/false);
  // What it read of Segmind would not be recorded, and others may need the connection more.
  if (membership_.LacksWriter(sent)) {
    if (leads()) StandDown("it cannot write the record", /*tell=*/true);
    Drop(PgUnavailable({"", "there is no connection to write through"}));
    return;
  }
  // It was given up for dead, and goes on as another member.
  if (leads() && leadership_.term()->holder != membership_.id())
    StandDown("it has another name now", /*tell=*/true);
  if (session_ == nullptr) return;
  dangers_.NoteSkew(look->skew, look->uncertainty);
  dangers_.NoteStandbys(look->is_synchronous, look->standbys);
  SetStatus(sent, *look);
  calls_.Show(look->calls);
  // Somebody came who can take over what this one was about to leave.
  if (leads() && leadership_.is_retired() && has_others_)
    StandDown("it is about to stop", /*tell=*/true);
  if (session_ == nullptr) return;
  if (leads())
    Lead(*look);
  else
    Follow(*look);
}

void PostgresFleet::SetStatus(absl::Time sent, const FleetLook& look) {
  const bool is_complete = view_revision_() >= look.revision;
  has_others_ = look.members.size() > 1;
  MutexLock lock(mu_);
  status_.term = look.term;
  status_.leads = leads();
  status_.leader_name = look.leader_name;
  status_.members = look.members;
  leader_until_ = sent + look.left;
  status_.seen = sent;
  status_.reachable = true;
  if (is_complete) status_.complete = sent;
  status_.skew = look.skew;
  status_.is_synchronous = look.is_synchronous;
  status_.standbys = look.standbys;
}

void PostgresFleet::Lead(const FleetLook& look) {
  if (look.wanted > wanted_) {
    wanted_ = look.wanted;
    listener_->OnWanted(wanted_);
  }
  if (look.hints.empty()) return;
  std::vector<FleetHint> hints;
  for (const std::string& id : look.hints) {
    const auto trace = traces_.find(id);
    hints.push_back({id, trace == traces_.end() ? TraceContext() : trace->second});
  }
  traces_.clear();
  listener_->OnHints(hints);
}

void PostgresFleet::Follow(const FleetLook& look) {
  if (look.reading != reading_seen_) {
    reading_seen_ = look.reading;
    if (const auto reading = DecodeReading(look.reading, clock_)) listener_->OnReading(*reading);
  }
  if (leadership_.is_retired() || membership_.is_lost()) return;
  const absl::Time now = SteadyNow();
  if (look.left > absl::ZeroDuration())
    next_look_ = std::min(next_look_, now + look.left + kAfterExpiry);
  else if (now < leadership_.may_begin_at())
    next_look_ = std::min(next_look_, leadership_.may_begin_at());
  else
    TakeOver();
}

void PostgresFleet::TakeOver() {
  const std::string me = membership_.id();
  std::vector<PgQuery> queries = TakeOverQueries(me, options_.leader_lease);
  const size_t taken = queries.size() - 1;
  if (calls() != nullptr)
    for (PgQuery& query : PostgresCalls::LimitQueries(options_.calls_per_minute))
      queries.push_back(std::move(query));
  queries.push_back({"COMMIT"});
  queries.push_back(NotifyFleetQuery(kFleetToAll));
  std::vector<PgRows> rows;
  const absl::Time sent = SteadyNow();
  if (!Ask(queries, rows).ok()) return;
  if (session_->connection().warned()) {
    Drop(PgUnavailable({"", "it did not say that it was committed for good"}));
    return;
  }
  next_look_ = absl::InfinitePast();
  const PgRows& row = rows[taken];
  if (row.size() != 1) return;
  const auto number = static_cast<uint64_t>(row.Number(0, 0));
  wanted_ = static_cast<uint64_t>(row.Number(0, 1));
  Log(LogLevel::kInfo, "leads from now on", {{"term", number}});
  listener_->OnLead(leadership_.Begin({number, me}, sent));
  if (wanted_ > 0) listener_->OnWanted(wanted_);
}

void PostgresFleet::StandDown(const char* why, bool tell) {
  const LeaderTerm term = leadership_.End();
  Log(LogLevel::kInfo, "leads no longer", {{"term", term.number}, {"why", why}});
  reading_seen_.clear();
  outbox_.DropReading();
  {
    MutexLock lock(mu_);
    status_.leads = false;
  }
  listener_->OnFollow();
  std::vector<PgRows> rows;
  if (tell && session_ != nullptr) Ask({ResignQuery(term), NotifyFleetQuery(kFleetToAll)}, rows);
}

void PostgresFleet::Say() {
  const std::vector<PgQuery> queries = outbox_.Take(leadership_.term(), clock_);
  if (queries.empty()) return;
  std::vector<PgRows> rows;
  if (const PgError error = Ask(queries, rows); error.ok())
    outbox_.OnSaid(rows);
  else
    outbox_.OnNotSaid(error);
}

}  // namespace

std::unique_ptr<Fleet> MakePostgresFleet(const PostgresFleetOptions& options,
                                         const Membership& membership) {
  return std::make_unique<PostgresFleet>(options, membership);
}

}  // namespace finetune
