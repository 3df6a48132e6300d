#include "server/store/postgres_fleet.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/backoff.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/base/utf8.h"
#include "server/store/database_clock.h"
#include "server/store/postgres_calls.h"
#include "server/store/postgres_session.h"
#include "server/store/reading_bytes.h"

namespace finetune {
namespace {

#define NOW "(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"

// What sessions say to each other; whoever misses one looks a little later.
constexpr char kListen[] = "LISTEN finetune_fleet";
constexpr char kNotify[] = "SELECT pg_notify('finetune_fleet', $1::text)";
constexpr char kToLeader[] = "to leader";
constexpr char kToAll[] = "to all";
constexpr char kWake[] = "wake";

constexpr absl::Duration kFirstReconnect = absl::Milliseconds(100);
constexpr absl::Duration kLastReconnect = absl::Seconds(2);
// A lease that has just run out may be the other's to renew for this long.
constexpr absl::Duration kAfterExpiry = absl::Milliseconds(20);
constexpr absl::Duration kRetirePatience = absl::Milliseconds(500);
constexpr size_t kMostHints = 1'000;
constexpr size_t kLongestHint = 255;
constexpr int kMostShared = 2'000;

PgValue Nanos(absl::Duration duration) {
  return PgValue::Number(absl::ToInt64Nanoseconds(duration));
}

// What other threads want said to the other members.
struct Outbox {
  std::vector<std::string> hints;
  bool wake = false;
  std::vector<Fleet::WantDone> wants;
  std::optional<FleetReading> reading;
};

// A clock that is further away than this makes what is shown look wrong.
constexpr absl::Duration kMostSkew = absl::Seconds(1);

// What one look at the leader's row showed, and at the server beside it.
struct LeaderRow {
  LeaderTerm term;
  absl::Duration left;  // Of its lease.
  std::string reading;
  uint64_t wanted = 0;
  bool is_synchronous = false;
  int64_t standbys = 0;
  absl::Duration skew;
};

class PostgresFleet : public Fleet {
 public:
  PostgresFleet(const PostgresFleetOptions& options, const Membership& membership)
      : options_(options),
        membership_(membership),
        wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
        calls_([this] { WakeThread(); }) {
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
  void Hint(std::string upstream_id) override ABSL_LOCKS_EXCLUDED(mu_);
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
  // Sets a flag of those below, or fills the outbox, and gets the thread to look at it.
  template <typename Change>
  void Post(const Change& change) ABSL_LOCKS_EXCLUDED(mu_);

  // Fleet's thread only, from here on.
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  void Work();
  void Rest();
  void Leave() ABSL_LOCKS_EXCLUDED(mu_);
  void TakeOrders() ABSL_LOCKS_EXCLUDED(mu_);
  bool Connect();
  // False if it failed; a connection that broke is dropped.
  bool Ask(const std::vector<PgQuery>& queries, std::vector<PgRows>& rows);
  void Drop(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  void LookAround();
  std::vector<PgQuery> LookQueries();
  void TakeLook(absl::Time sent, const std::vector<PgRows>& rows) ABSL_LOCKS_EXCLUDED(mu_);
  // What operators should know of the server and of the clock, once each time it changes.
  void NoteDangers(const LeaderRow& row, absl::Duration uncertainty);
  void SetStatus(absl::Time sent, const LeaderRow& row, const PgRows& members, uint64_t revision)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Lead(const LeaderRow& row, const PgRows& hints);
  void Follow(const LeaderRow& row);
  void TakeOver();
  // Leads no more. Others may at once, if they are told.
  void StandDown(const char* why, bool tell);
  void Say() ABSL_LOCKS_EXCLUDED(mu_);

  bool leads() const { return lease_ != nullptr; }
  // Of the lease: empty where another one leads.
  std::vector<PgValue> TermValues() const {
    return {PgValue::Number(leads() ? static_cast<int64_t>(lease_->term.number) : -1),
            PgValue::Text(leads() ? lease_->term.holder : "")};
  }

  // Constant after construction, or Start.
  const PostgresFleetOptions options_;
  const Membership& membership_;
  const int wake_fd_;
  FleetListener* listener_ = nullptr;
  std::function<uint64_t()> view_revision_;

  PostgresCalls calls_;

  // Fleet's thread only.
  std::unique_ptr<PostgresSession> session_;
  DatabaseClock clock_;
  Backoff backoff_{kFirstReconnect, kLastReconnect};
  absl::Time connect_at_ = absl::InfinitePast();
  absl::Time next_look_ = absl::InfinitePast();
  std::shared_ptr<LeaderLease> lease_;  // Null while this process does not lead.
  bool may_lead_ = true;
  absl::Time may_lead_at_ = absl::InfinitePast();
  absl::Time give_up_at_ = absl::InfinitePast();
  bool has_others_ = false;
  bool is_skewed_ = false;
  bool has_been_synchronous_ = false;
  bool may_lose_ = false;     // Logged.
  uint64_t wanted_ = 0;       // What the listener was told.
  std::string reading_seen_;  // Likewise.

  mutable Mutex mu_;
  CondVar retired_;
  Outbox outbox_ ABSL_GUARDED_BY(mu_);
  FleetStatus status_ ABSL_GUARDED_BY(mu_);
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

template <typename Change>
void PostgresFleet::Post(const Change& change) {
  {
    MutexLock lock(mu_);
    change();
  }
  WakeThread();
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
  MutexLock lock(mu_);
  return status_;
}

void PostgresFleet::Hint(std::string upstream_id) {
  // It comes from outside. What no text of the database's can hold is no name of Segmind's.
  if (ValidUtf8(upstream_id, kLongestHint) != upstream_id ||
      upstream_id.find('\0') != std::string::npos)
    upstream_id.clear();
  Post([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (outbox_.hints.size() < kMostHints) outbox_.hints.push_back(std::move(upstream_id));
  });
}

void PostgresFleet::Wake() {
  Post([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { outbox_.wake = true; });
}

void PostgresFleet::WantRead(WantDone done) {
  bool stopping = false;
  Post([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    stopping = stopping_;
    if (!stopping) outbox_.wants.push_back(std::move(done));
  });
  if (stopping) std::move(done)(PgUnavailable({"", "the gateway is stopping"}));
}

void PostgresFleet::Tell(const FleetReading& reading) {
  Post([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { outbox_.reading = reading; });
}

void PostgresFleet::GiveUp() {
  Post([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { giving_up_ = true; });
}

void PostgresFleet::OnFenced(const LeaderTerm& term) {
  Post([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { fenced_ = term; });
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
  if (leads() && !lease_->Holds(SteadyNow())) StandDown("its lease ran out", /*tell=*/false);
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
  std::vector<WantDone> wants;
  {
    MutexLock lock(mu_);
    wants.swap(outbox_.wants);
  }
  for (WantDone& done : wants) std::move(done)(away);
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
    if (word == (leads() ? kToLeader : kToAll)) next_look_ = absl::InfinitePast();
    if (word == kWake && leads()) listener_->OnWake();
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
  const absl::Time now = SteadyNow();
  if (leads() && lease_->term == fenced) {
    StandDown("its term is over", /*tell=*/false);
    next_look_ = absl::InfinitePast();
  }
  if (leads() && gives_up && has_others_ && now >= give_up_at_) {
    give_up_at_ = now + options_.give_up_every;
    may_lead_at_ = now + options_.stand_back;
    StandDown("it cannot read Segmind", /*tell=*/true);
  }
  if (!retires) return;
  may_lead_ = false;
  if (leads() && has_others_) StandDown("it is about to stop", /*tell=*/true);
  MutexLock lock(mu_);
  is_retired_ = true;
  retired_.NotifyAll();
}

void PostgresFleet::Leave() {
  if (leads()) StandDown("it stops", /*tell=*/true);
  calls_.Stop();
  std::vector<WantDone> wants;
  {
    MutexLock lock(mu_);
    wants.swap(outbox_.wants);
  }
  for (WantDone& done : wants) std::move(done)(PgUnavailable({"", "the gateway is stopping"}));
  session_.reset();
}

bool PostgresFleet::Connect() {
  if (SteadyNow() < connect_at_) return false;
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

bool PostgresFleet::Ask(const std::vector<PgQuery>& queries, std::vector<PgRows>& rows) {
  PgConnection& connection = session_->connection();
  const PgError error = connection.Run(queries, SteadyNow() + options_.patience, rows);
  if (error.ok()) return true;
  if (!connection.broken()) {
    std::vector<PgRows> ignored;
    (void)connection.Run({{"ROLLBACK"}}, SteadyNow() + options_.patience, ignored);
    Log(LogLevel::kWarning, "the database refused what a gateway tells the others",
        {{"error", error.message}});
  }
  if (connection.broken()) Drop(PgUnavailable(error));
  return false;
}

// ---- Looks ----

std::vector<PgQuery> PostgresFleet::LookQueries() {
  std::vector<PgQuery> queries;
  std::vector<PgValue> renewal = TermValues();
  renewal.push_back(Nanos(options_.leader_lease));
  queries.push_back(
      {"UPDATE finetune.leader SET expires = " NOW
       " + $3::bigint WHERE term = $1::bigint AND holder = $2::text AND expires > " NOW
       " RETURNING expires",
       std::move(renewal)});
  queries.push_back(
      {"SELECT term, holder, expires - " NOW ", reading, wanted, " NOW
       ", (current_setting('synchronous_standby_names') <> '')::int::bigint, (SELECT count(*) FROM "
       "pg_stat_replication) FROM finetune.leader"});
  queries.push_back({"SELECT id, name, version, started FROM finetune.members WHERE expires > " NOW
                     " ORDER BY name, started, id"});
  queries.push_back({"SELECT revision FROM finetune.meta"});
  queries.push_back(
      {"DELETE FROM finetune.hints WHERE EXISTS (SELECT FROM finetune.leader WHERE term = "
       "$1::bigint AND holder = $2::text) RETURNING upstream_id",
       TermValues()});
  for (PgQuery& query : PostgresCalls::PictureQueries()) queries.push_back(std::move(query));
  return queries;
}

void PostgresFleet::LookAround() {
  std::vector<PgRows> rows;
  const absl::Time sent = SteadyNow();
  next_look_ = sent + options_.interval;
  if (Ask(LookQueries(), rows)) TakeLook(sent, rows);
}

void PostgresFleet::TakeLook(absl::Time sent, const std::vector<PgRows>& rows) {
  const PgRows& leader = rows[1];
  if (leader.size() != 1 || rows[3].size() != 1) {
    Drop(PgUnavailable({"", "a table of the fleet's lacks its row"}));
    return;
  }
  const absl::Time said = absl::FromUnixNanos(leader.Number(0, 5));
  const absl::Time received = SteadyNow();
  const absl::Duration uncertainty = (received - sent) / 2;
  clock_.Note(sent, received, said);
  if (leads() && rows[0].size() == 1)
    lease_->Renew(sent + options_.leader_lease - options_.caution);
  else if (leads())
    StandDown("its lease was not renewed in time", /*tell=*/false);
  // It was given up for dead, and goes on as another member.
  if (leads() && lease_->term.holder != membership_.id())
    StandDown("it has another name now", /*tell=*/true);
  if (session_ == nullptr) return;
  const LeaderRow row{
      .term = {static_cast<uint64_t>(leader.Number(0, 0)), std::string(leader.Bytes(0, 1))},
      .left = absl::Nanoseconds(leader.Number(0, 2)),
      .reading = std::string(leader.Bytes(0, 3)),
      .wanted = static_cast<uint64_t>(leader.Number(0, 4)),
      .is_synchronous = leader.Number(0, 6) != 0,
      .standbys = leader.Number(0, 7),
      .skew = WallNow() - uncertainty - said};
  NoteDangers(row, uncertainty);
  SetStatus(sent, row, rows[2], static_cast<uint64_t>(rows[3].Number(0, 0)));
  calls_.Show(PostgresCalls::PictureOf(rows[5], rows[6], clock_));
  // Somebody came who can take over what this one was about to leave.
  if (leads() && !may_lead_ && has_others_) StandDown("it is about to stop", /*tell=*/true);
  if (session_ == nullptr) return;
  if (leads())
    Lead(row, rows[4]);
  else
    Follow(row);
}

void PostgresFleet::SetStatus(absl::Time sent, const LeaderRow& row, const PgRows& members,
                              uint64_t revision) {
  const bool is_complete = view_revision_() >= revision;
  const std::string me = membership_.id();
  std::vector<FleetMember> all;
  std::string leader_name;
  for (int i = 0; i < members.size(); ++i) {
    FleetMember& member = all.emplace_back();
    member = {.id = std::string(members.Bytes(i, 0)),
              .name = std::string(members.Bytes(i, 1)),
              .version = std::string(members.Bytes(i, 2)),
              .started = absl::FromUnixNanos(members.Number(i, 3))};
    member.is_me = member.id == me;
    member.leads = row.left > absl::ZeroDuration() && member.id == row.term.holder;
    if (member.leads) leader_name = member.name;
  }
  has_others_ = all.size() > 1;
  MutexLock lock(mu_);
  status_.term = row.term;
  status_.leads = leads();
  status_.leader_name = std::move(leader_name);
  status_.members = std::move(all);
  status_.seen = sent;
  status_.reachable = true;
  if (is_complete) status_.complete = sent;
  status_.skew = row.skew;
  status_.is_synchronous = row.is_synchronous;
  status_.standbys = row.standbys;
}

void PostgresFleet::NoteDangers(const LeaderRow& row, absl::Duration uncertainty) {
  const absl::Duration skew = absl::AbsDuration(row.skew);
  if (skew > kMostSkew + uncertainty && !std::exchange(is_skewed_, true)) {
    Log(LogLevel::kWarning, "this machine's clock is not the database's",
        {{"ahead_s", absl::ToDoubleSeconds(row.skew)}});
  } else if (skew < kMostSkew && std::exchange(is_skewed_, false)) {
    Log(LogLevel::kInfo, "this machine's clock is the database's again");
  }
  // A server without a standby has never promised more.
  const bool is_expected = row.standbys > 0 || has_been_synchronous_;
  has_been_synchronous_ = has_been_synchronous_ || row.is_synchronous;
  if (!row.is_synchronous && is_expected && !std::exchange(may_lose_, true)) {
    Log(LogLevel::kWarning,
        "commits are acknowledged before a standby has them: a failover loses the latest",
        {{"standbys", row.standbys}});
  } else if (row.is_synchronous && std::exchange(may_lose_, false)) {
    Log(LogLevel::kInfo, "commits are acknowledged once a standby has them");
  }
}

void PostgresFleet::Lead(const LeaderRow& row, const PgRows& hints) {
  if (row.wanted > wanted_) {
    wanted_ = row.wanted;
    listener_->OnWanted(wanted_);
  }
  if (hints.size() == 0) return;
  std::vector<std::string> ids;
  for (int i = 0; i < hints.size(); ++i) ids.emplace_back(hints.Bytes(i, 0));
  listener_->OnHints(ids);
}

void PostgresFleet::Follow(const LeaderRow& row) {
  if (row.reading != reading_seen_) {
    reading_seen_ = row.reading;
    if (const auto reading = DecodeReading(row.reading, clock_)) listener_->OnReading(*reading);
  }
  const absl::Time now = SteadyNow();
  if (!may_lead_ || membership_.is_lost()) return;
  if (row.left > absl::ZeroDuration()) {
    next_look_ = std::min(next_look_, now + row.left + kAfterExpiry);
  } else if (now < may_lead_at_) {
    next_look_ = std::min(next_look_, may_lead_at_);
  } else {
    TakeOver();
  }
}

void PostgresFleet::TakeOver() {
  const std::string me = membership_.id();
  std::vector<PgQuery> queries = {
      {"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
      {"SET LOCAL synchronous_commit = on"},
      // No commit of the record is under way while the term changes.
      {"SELECT seq FROM finetune.meta FOR UPDATE"},
      {"UPDATE finetune.leader SET term = term + 1, holder = $1::text, expires = " NOW
       " + $2::bigint WHERE expires < " NOW " RETURNING term, wanted",
       {PgValue::Text(me), Nanos(options_.leader_lease)}}};
  if (calls() != nullptr)
    for (PgQuery& query : PostgresCalls::LimitQueries(options_.calls_per_minute))
      queries.push_back(std::move(query));
  queries.push_back({"COMMIT"});
  queries.push_back({kNotify, {PgValue::Text(kToAll)}});
  std::vector<PgRows> rows;
  const absl::Time sent = SteadyNow();
  if (!Ask(queries, rows)) return;
  if (session_->connection().warned()) {
    Drop(PgUnavailable({"", "it did not say that it was committed for good"}));
    return;
  }
  next_look_ = absl::InfinitePast();
  if (rows[3].size() != 1) return;
  lease_ =
      std::make_shared<LeaderLease>(LeaderTerm{static_cast<uint64_t>(rows[3].Number(0, 0)), me},
                                    sent + options_.leader_lease - options_.caution);
  wanted_ = static_cast<uint64_t>(rows[3].Number(0, 1));
  Log(LogLevel::kInfo, "leads from now on", {{"term", lease_->term.number}});
  listener_->OnLead(lease_);
  if (wanted_ > 0) listener_->OnWanted(wanted_);
}

void PostgresFleet::StandDown(const char* why, bool tell) {
  const std::vector<PgValue> term = TermValues();
  lease_->End();
  Log(LogLevel::kInfo, "leads no longer", {{"term", lease_->term.number}, {"why", why}});
  lease_ = nullptr;
  reading_seen_.clear();
  {
    MutexLock lock(mu_);
    status_.leads = false;
    outbox_.reading.reset();
  }
  listener_->OnFollow();
  std::vector<PgRows> rows;
  if (tell && session_ != nullptr)
    Ask({{"UPDATE finetune.leader SET expires = 0 WHERE term = $1::bigint AND holder = $2::text",
          term},
         {kNotify, {PgValue::Text(kToAll)}}},
        rows);
}

void PostgresFleet::Say() {
  Outbox out;
  {
    MutexLock lock(mu_);
    std::swap(out, outbox_);
  }
  std::vector<PgQuery> queries;
  if (!out.hints.empty()) {
    std::vector<PgValue> ids;
    for (const std::string& id : out.hints) ids.push_back(PgValue::Text(id));
    queries.push_back({"INSERT INTO finetune.hints SELECT unnest($1::text[]), " NOW
                       " ON CONFLICT DO NOTHING",
                       {PgValue::Array(PgValue::kText, ids)}});
  }
  if (!out.wants.empty())
    queries.push_back({"UPDATE finetune.leader SET wanted = wanted + 1 RETURNING wanted"});
  const bool tells = out.reading && leads();
  if (tells) {
    std::vector<PgValue> values = TermValues();
    values.push_back(PgValue::Bytes(EncodeReading(*out.reading, clock_)));
    queries.push_back(
        {"UPDATE finetune.leader SET reading = $3::bytea WHERE term = $1::bigint AND "
         "holder = $2::text",
         std::move(values)});
    queries.push_back({kNotify, {PgValue::Text(kToAll)}});
  }
  if (!out.hints.empty() || !out.wants.empty())
    queries.push_back({kNotify, {PgValue::Text(kToLeader)}});
  if (out.wake) queries.push_back({kNotify, {PgValue::Text(kWake)}});
  if (queries.empty()) return;
  std::vector<PgRows> rows;
  const bool said = Ask(queries, rows);
  const uint64_t ticket = said && !out.wants.empty()
                              ? static_cast<uint64_t>(rows[out.hints.empty() ? 0 : 1].Number(0, 0))
                              : 0;
  for (WantDone& done : out.wants) {
    if (said)
      std::move(done)(ticket);
    else
      std::move(done)(PgUnavailable({"", "it did not answer"}));
  }
  // A lost connection loses nothing of this; what the database refuses is refused again.
  if (said || session_ != nullptr) return;
  MutexLock lock(mu_);
  outbox_.wake |= out.wake;
  if (tells && !outbox_.reading) outbox_.reading = std::move(out.reading);
  for (std::string& id : out.hints)
    if (outbox_.hints.size() < kMostHints) outbox_.hints.push_back(std::move(id));
}

}  // namespace

std::unique_ptr<Fleet> MakePostgresFleet(const PostgresFleetOptions& options,
                                         const Membership& membership) {
  return std::make_unique<PostgresFleet>(options, membership);
}

}  // namespace finetune
