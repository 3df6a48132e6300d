#include "server/store/postgres_store.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/store/postgres_batch.h"
#include "server/store/postgres_feed.h"
#include "server/store/postgres_ledger.h"
#include "server/store/postgres_members.h"
#include "server/store/postgres_now.h"
#include "server/store/postgres_rows.h"
#include "server/store/postgres_session.h"

namespace finetune {
namespace {

// The most news that are asked for while others wait for the turn.
constexpr int64_t kMaxNews = 64;
// Loading a whole record may take longer than a query.
constexpr absl::Duration kLoadPatience = absl::Minutes(2);
// The most changes that Read returns: as many as are kept for clients that resume, by default.
constexpr int64_t kMaxRead = 10'000;
// How soon a connection that was lost earlier fails.
constexpr absl::Duration kAtOnce = absl::Milliseconds(500);

// Puts the database's name in front of what is wrong.
absl::StatusOr<std::unique_ptr<PostgresSession>> OpenSession(const PostgresOptions& options) {
  auto session = PostgresSession::Open(options.target, PostgresSession::Use::kShared,
                                       SteadyNow() + options.patience, options.lock_patience);
  if (session.ok()) return session;
  return absl::Status(session.status().code(),
                      absl::StrCat("the database ", ShownPgUrl(options.target.url), ": ",
                                   session.status().message()));
}

// Threads as Store says; the feed has one of its own. The turn is a transaction that holds the row
// of `meta`.
class PostgresStore : public Store {
 public:
  PostgresStore(const PostgresOptions& options, std::unique_ptr<PostgresSession> session)
      : options_(options), session_(std::move(session)), feed_(FeedOptions(options), membership()) {
    membership().Join(MakeUuid(), absl::InfinitePast());
  }
  ~PostgresStore() override;

  bool is_shared() const override { return true; }
  std::string_view system() const override { return "postgresql"; }
  absl::StatusOr<StoreState> Load() override;
  absl::StatusOr<StoreNews> Begin(const StorePoint& known, const TurnNeeds& needs) override;
  CommitOutcome Commit(const StoreBatch& batch) override;
  void Abandon() override;
  absl::StatusOr<bool> Settle() override;
  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& request_id) override;
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) override;
  absl::StatusOr<std::vector<std::optional<int64_t>>> FindTotals(
      const std::vector<TotalKey>& keys) override;
  absl::StatusOr<SpendingRows> ReadSpending(const SpendingQuery& query) override;
  absl::Status CheckWritable() override;
  absl::StatusOr<StoreNews> Read(const StorePoint& known) override;
  void Follow(std::function<void()> wake) override { feed_.Follow(std::move(wake)); }

 private:
  static PostgresFeed::Options FeedOptions(const PostgresOptions& options) {
    return {.target = options.target,
            .patience = options.patience,
            .poll_interval = options.poll_interval,
            .lease = options.lease};
  }
  absl::Time Deadline() const { return SteadyNow() + options_.patience; }
  // Runs the queries. After an error the transaction is over, and a broken connection is dropped.
  absl::Status Run(const std::vector<PgQuery>& queries, std::vector<PgRows>& rows,
                   std::optional<absl::Time> deadline = std::nullopt);
  absl::Status EnsureOpen();
  // As EnsureOpen and Run, for the first queries of a turn or a look, which `make` makes. If the
  // connection turns out to have been lost since its last use, they are asked anew on another.
  template <typename Make>
  absl::Status RunFirst(const Make& make, std::vector<PgRows>& rows, absl::Time& asked);
  void Drop();
  // Registers this process, under another name if its intents were taken over. Begins an era if the
  // server is not the known one, or at a start at which nobody is alive.
  absl::Status Join(bool starting);
  // Reads the answers that begin at `first`: the row of `meta`, then those to NewsQueries, which
  // were asked at `asked`.
  absl::StatusOr<StoreNews> NewsOf(const std::vector<PgRows>& rows, size_t first,
                                   const StorePoint& known, int64_t most, absl::Time asked);
  absl::Status LookAtClock(StoreState& state);
  // Everything that the turn's transaction runs once the batch is there.
  std::vector<PgQuery> CommitQueries(const StoreBatch& batch);
  // Sets `news`' members and clock; false if this process is no member any more.
  bool TakeMembers(const PgRows& rows, absl::Time asked, StoreNews& news);

  const PostgresOptions options_;
  const absl::Time opened_ = SteadyNow();
  std::unique_ptr<PostgresSession> session_;  // Null while there is no connection.
  bool joined_ = false;                       // On this connection.
  bool started_ = false;
  std::string epoch_;
  std::string marker_key_;
  bool in_turn_ = false;      // The transaction that holds the row of `meta` is open.
  StorePoint turn_;           // Where it began.
  bool others_live_ = false;  // As it began.
  std::string batch_by_;      // Under which name the last batch was sent,
  int64_t batch_ = 0;         // and its number.
  int64_t written_ = 0;       // The last one that was acknowledged.
  bool went_back_ = false;    // The record lacks what it had, and no era says so yet.
  PostgresFeed feed_;
};

PostgresStore::~PostgresStore() {
  feed_.Stop();
  if (session_ == nullptr || !started_) return;
  // So that nobody has to wait for its lease to run out: what it owned is settled.
  std::vector<PgRows> rows;
  (void)session_->connection().Run({LeaveQuery(membership().id())}, SteadyNow() + absl::Seconds(1),
                                   rows);
}

absl::Status PostgresStore::Run(const std::vector<PgQuery>& queries, std::vector<PgRows>& rows,
                                std::optional<absl::Time> deadline) {
  const PgError error = session_->connection().Run(queries, deadline.value_or(Deadline()), rows);
  if (error.ok()) return absl::OkStatus();
  in_turn_ = false;
  if (error.broken() || session_->connection().broken()) {
    Drop();
  } else {
    std::vector<PgRows> ignored;
    if (!session_->connection().Run({{"ROLLBACK"}}, Deadline(), ignored).ok()) Drop();
  }
  return PgUnavailable(error);
}

void PostgresStore::Drop() {
  in_turn_ = false;
  session_.reset();
  joined_ = false;
}

absl::Status PostgresStore::EnsureOpen() {
  if (session_ == nullptr) {
    auto session = feed_.Reopen();
    if (!session.ok()) return PgUnavailable({"", std::string(session.status().message())});
    session_ = *std::move(session);
  }
  if (joined_ && !membership().is_lost()) return absl::OkStatus();
  return Join(/*starting=*/false);
}

template <typename Make>
absl::Status PostgresStore::RunFirst(const Make& make, std::vector<PgRows>& rows,
                                     absl::Time& asked) {
  const bool may_be_stale = session_ != nullptr;
  RETURN_IF_ERROR(EnsureOpen());
  asked = SteadyNow();
  absl::Status status = Run(make(), rows);
  // Not if the error took its time: then nobody answers.
  if (status.ok() || !may_be_stale || session_ != nullptr || SteadyNow() - asked > kAtOnce)
    return status;
  RETURN_IF_ERROR(EnsureOpen());
  asked = SteadyNow();
  return Run(make(), rows);
}

absl::Status PostgresStore::Join(bool starting) {
  std::vector<PgRows> rows;
  RETURN_IF_ERROR(Run(JoinQuestions(membership().id()), rows));
  const std::optional<JoinLook> look = JoinLookOf(rows);
  if (!look) return PgUnavailable({"", "the table finetune.meta is empty"});
  if (started_ && look->epoch != epoch_) {
    Drop();
    return PgUnavailable({"", "it has another record now: the gateway must be started anew"});
  }
  // What was owned under the old name was taken over, or may have been, be it so long ago that the
  // name is forgotten.
  if (!look->i_am_a_member || membership().is_lost())
    membership().Join(MakeUuid(), absl::InfinitePast());
  const std::string me = membership().id();
  const bool is_first = look->point.era == 0;
  const bool may_lack = (look->server != session_->server() && !is_first) || went_back_;
  const bool begins = (starting && !look->somebody_lives) || may_lack || is_first;
  std::vector<PgQuery> queries;
  if (begins) {
    queries = EraQueries(look->point, session_->server(),
                         went_back_ ? "commits are gone"
                         : may_lack ? "another server, or the same restarted"
                                    : "a start",
                         may_lack ? options_.caution : absl::ZeroDuration());
  }
  for (PgQuery& query : MemberQueries(me, options_.name, options_.lease, SteadyNow() - opened_))
    queries.push_back(std::move(query));
  queries.push_back({"COMMIT"});
  const absl::Time asked = SteadyNow();
  RETURN_IF_ERROR(Run(queries, rows));
  epoch_ = look->epoch;
  marker_key_ = look->marker_key;
  joined_ = true;
  went_back_ = false;
  written_ = 0;
  membership().Join(me, asked + options_.lease - kLeaseMargin);
  if (begins) feed_.Announce();
  return absl::OkStatus();
}

bool PostgresStore::TakeMembers(const PgRows& rows, absl::Time asked, StoreNews& news) {
  const std::string me = membership().id();
  StoreMembers members;
  bool is_member = false;
  others_live_ = false;
  for (int i = 0; i < rows.size(); ++i) {
    const std::string id(rows.Bytes(i, 0));
    const absl::Time now = absl::FromUnixNanos(rows.Number(i, 2));
    if (id == batch_by_ && rows.Number(i, 4) < written_) went_back_ = true;
    news.clock = StoreClock{.time = now, .asked = asked, .answered = SteadyNow()};
    is_member = is_member || id == me;
    // In a young era, members that are alive may not have found the new server yet.
    const bool is_young = absl::FromUnixNanos(rows.Number(i, 3)) + options_.lease > now;
    if (id == me || rows.Number(i, 1) != 0 || is_young) {
      members.live.push_back(id);
      others_live_ = others_live_ || id != me;
    } else {
      members.ended.push_back(id);
    }
  }
  news.members = std::move(members);
  return is_member;
}

absl::StatusOr<StoreNews> PostgresStore::NewsOf(const std::vector<PgRows>& rows, size_t first,
                                                const StorePoint& known, int64_t most,
                                                absl::Time asked) {
  StoreNews news;
  const PgRows& meta = rows[first];
  if (meta.size() != 1) return PgUnavailable({"", "the table finetune.meta is empty"});
  news.point = PointOf(meta);
  if (!TakeMembers(rows[first + 1], asked, news)) {
    membership().Lose(membership().id());
    return PgUnavailable({"", "this gateway was taken for gone"});
  }
  if (news.point.era == known.era && news.point.seq < known.seq) went_back_ = true;
  if (went_back_) {
    // When it joins again, it begins an era.
    Drop();
    return PgUnavailable({"", "it has lost commits"});
  }
  news.caution = CautionOf(rows[first + 5]);
  news.changes = ChangesOf(rows[first + 2]);
  ASSIGN_OR_RETURN(news.intents, IntentsOf(rows[first + 3]));
  if (news.point.era != known.era) {
    news.lineage = Lineage(ErasOf(rows[first + 4]));
    news.must_load = !news.lineage->HasSeq(known.era, known.seq, news.point.seq);
  }
  news.must_load = news.must_load || news.point.seq < known.seq ||
                   news.point.revision < known.revision ||
                   (!news.changes.empty() && news.changes[0].revision != known.revision + 1) ||
                   (news.changes.empty() && news.point.revision != known.revision);
  if (news.must_load) return news;
  const auto limit = static_cast<size_t>(most);
  news.is_behind = news.changes.size() > limit || news.intents.size() > limit;
  return news;
}

// Asked alone, because the longer the query takes, the less its answer says.
absl::Status PostgresStore::LookAtClock(StoreState& state) {
  std::vector<PgRows> rows;
  const absl::Time asked = SteadyNow();
  RETURN_IF_ERROR(Run({{"SELECT " PG_NOW}}, rows));
  state.clock = StoreClock{
      .time = absl::FromUnixNanos(rows[0].Number(0, 0)), .asked = asked, .answered = SteadyNow()};
  return absl::OkStatus();
}

absl::StatusOr<StoreState> PostgresStore::Load() {
  if (!started_) {
    // An earlier load may have failed.
    if (session_ == nullptr) {
      ASSIGN_OR_RETURN(session_, OpenSession(options_));
    }
    RETURN_IF_ERROR(Join(/*starting=*/true));
    started_ = true;
    feed_.Start();
  } else {
    RETURN_IF_ERROR(EnsureOpen());
  }
  std::vector<PgRows> rows;
  RETURN_IF_ERROR(Run({{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
                       {kSelectMeta},
                       {kSelectEras},
                       {"SELECT record FROM finetune.fine_tunes ORDER BY first_revision"},
                       {kSelectChanges},
                       {"SELECT intent FROM finetune.intents WHERE state < 3"},
                       {"COMMIT"}},
                      rows, SteadyNow() + kLoadPatience));
  StoreState state;
  state.epoch = epoch_;
  state.marker_key = marker_key_;
  state.point = PointOf(rows[1]);
  RETURN_IF_ERROR(LookAtClock(state));
  state.lineage = Lineage(ErasOf(rows[2]));
  for (int i = 0; i < rows[3].size(); ++i) state.records.emplace_back(rows[3].Bytes(i, 0));
  state.changes = ChangesOf(rows[4]);
  ASSIGN_OR_RETURN(state.unsettled_intents, IntentsOf(rows[5]));
  const uint64_t first = state.point.revision - state.changes.size() + 1;
  for (size_t i = 0; i < state.changes.size(); ++i) {
    if (state.changes[i].revision != first + i)
      return absl::DataLossError("the database's log of changes has a gap: restore a backup");
  }
  feed_.Take(state.point);
  return state;
}

absl::StatusOr<StoreNews> PostgresStore::Begin(const StorePoint& known, const TurnNeeds& needs) {
  const auto questions = [&] {
    std::vector<PgQuery> queries = {{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
                                    {kLockMeta}};
    for (PgQuery& query : NewsQueries(known, kMaxNews, membership().all()))
      queries.push_back(std::move(query));
    // A take-over locks the row of `meta`, too, so the leader's row cannot change in the turn.
    queries.push_back({"SELECT term, holder FROM finetune.leader"});
    return queries;
  };
  std::vector<PgRows> rows;
  absl::Time asked;
  RETURN_IF_ERROR(RunFirst(questions, rows, asked));
  auto news = NewsOf(rows, 1, known, kMaxNews, asked);
  if (!news.ok() || news->is_behind || news->must_load) {
    Abandon();
    return news;
  }
  in_turn_ = true;
  turn_ = news->point;
  const PgRows& leader = rows.back();
  news->leader = leader.size() != 1 ? LeaderTerm()
                                    : LeaderTerm{static_cast<uint64_t>(leader.Number(0, 0)),
                                                 std::string(leader.Bytes(0, 1))};
  feed_.Take(turn_);
  return news;
}

void PostgresStore::Abandon() {
  std::vector<PgRows> rows;
  in_turn_ = false;
  if (session_ != nullptr) (void)Run({{"ROLLBACK"}}, rows);
}

std::vector<PgQuery> PostgresStore::CommitQueries(const StoreBatch& batch) {
  std::vector<PgQuery> queries = BatchQueries(batch, turn_);
  queries.push_back(
      {"UPDATE finetune.meta SET seq = $1::bigint, ledger_seq = $1::bigint, revision = "
       "$2::bigint",
       {PgValue::Number(Signed(turn_.seq) + 1),
        PgValue::Number(Signed(turn_.revision + batch.changes.size()))}});
  for (PgQuery& query : WriterQueries(batch, {.era = turn_.era,
                                             .by = batch_by_,
                                             .number = batch_,
                                             .names = membership().all(),
                                             .caution = options_.caution}))
    queries.push_back(std::move(query));
  queries.push_back({"COMMIT"});
  return queries;
}

CommitOutcome PostgresStore::Commit(const StoreBatch& batch) {
  // A query within the turn may have failed and ended it. Without the row of `meta` nothing is
  // written.
  if (session_ == nullptr || !std::exchange(in_turn_, false))
    return CommitOutcome::Of(PgUnavailable({"", "the turn was lost"}));
  ++batch_;
  batch_by_ = membership().id();
  const std::vector<PgQuery> queries = CommitQueries(batch);
  std::vector<PgRows> rows;
  // A first list with a hundred thousand jobs takes its time.
  const absl::Duration more = absl::Milliseconds(1) * (batch.changes.size() / 4);
  const PgError error = session_->connection().Run(queries, Deadline() + more, rows);
  const bool warned = session_->connection().warned();
  if (error.ok() && !warned && rows.back().tag() == "COMMIT") {
    written_ = batch_;
    feed_.Take({turn_.era, turn_.seq + 1, turn_.revision + batch.changes.size()});
    if (others_live_) feed_.Announce();
    return {};
  }
  if (!error.ok() && !error.broken() && !session_->connection().broken()) {
    // A statement failed, so the COMMIT after it was not run.
    Abandon();
    return CommitOutcome::Of(PgUnavailable(error));
  }
  Drop();
  return {CommitOutcome::Kind::kOpen,
          PgUnavailable(error.ok() ? PgError{"", "it did not say that it was committed for good"}
                                   : error)};
}

// The lock on `meta` proves that the commit is over, because it is held for as long as the server
// works on the commit. What was written is durable once a later commit is.
absl::StatusOr<bool> PostgresStore::Settle() {
  RETURN_IF_ERROR(EnsureOpen());
  std::vector<PgRows> rows;
  RETURN_IF_ERROR(Run(
      {{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
       {kLockMeta},
       {"SELECT last_batch FROM finetune.members WHERE id = $1::text", {PgValue::Text(batch_by_)}},
       {"UPDATE finetune.meta SET seq = seq"},
       {"COMMIT"}},
      rows));
  if (session_->connection().warned()) {
    Drop();
    return PgUnavailable({"", "it did not say that it was committed for good"});
  }
  const bool is_written = rows[2].size() == 1 && rows[2].Number(0, 0) == batch_;
  if (is_written) written_ = batch_;
  return is_written;
}

absl::StatusOr<std::optional<record::Intent>> PostgresStore::FindIntent(
    const std::string& caller, const std::string& request_id) {
  RETURN_IF_ERROR(EnsureOpen());
  std::vector<PgRows> rows;
  RETURN_IF_ERROR(
      Run({{"SELECT intent FROM finetune.intents WHERE caller = $1::text AND request_id "
            "= $2::text",
            {PgValue::Text(caller), PgValue::Text(request_id)}}},
          rows));
  ASSIGN_OR_RETURN(std::vector<record::Intent> found, IntentsOf(rows[0]));
  if (found.empty()) return std::nullopt;
  return std::optional<record::Intent>(std::move(found.front()));
}

absl::StatusOr<CreateCount> PostgresStore::CountCreates(const std::string& caller,
                                                        absl::Time since) {
  RETURN_IF_ERROR(EnsureOpen());
  std::vector<PgRows> rows;
  // NOT_SUBMITTED is 4.
  RETURN_IF_ERROR(
      Run({{"SELECT count(*), coalesce(min(create_time), 0) FROM finetune.intents WHERE "
            "caller = $1::text AND create_time > $2::bigint AND state < 4",
            {PgValue::Text(caller), PgValue::Number(absl::ToUnixNanos(since))}}},
          rows));
  CreateCount creates;
  creates.count = rows[0].Number(0, 0);
  if (creates.count > 0) creates.oldest = absl::FromUnixNanos(rows[0].Number(0, 1));
  return creates;
}

absl::StatusOr<std::vector<std::optional<int64_t>>> PostgresStore::FindTotals(
    const std::vector<TotalKey>& keys) {
  RETURN_IF_ERROR(EnsureOpen());
  std::vector<PgRows> rows;
  RETURN_IF_ERROR(Run({FindTotalsQuery(keys)}, rows));
  std::vector<std::optional<int64_t>> totals = TotalsOf(rows[0]);
  if (totals.size() != keys.size()) return PgUnavailable({"", "it did not tell all totals"});
  return totals;
}

absl::StatusOr<SpendingRows> PostgresStore::ReadSpending(const SpendingQuery& query) {
  RETURN_IF_ERROR(EnsureOpen());
  std::vector<PgRows> rows;
  RETURN_IF_ERROR(Run({ReadSpendingQuery(query)}, rows));
  return SpendingRowsOf(rows[0]);
}

absl::Status PostgresStore::CheckWritable() {
  RETURN_IF_ERROR(EnsureOpen());
  std::vector<PgRows> rows;
  return Run({{"BEGIN"}, {"UPDATE finetune.meta SET seq = seq"}, {"COMMIT"}}, rows);
}

absl::StatusOr<StoreNews> PostgresStore::Read(const StorePoint& known) {
  const auto questions = [&] {
    std::vector<PgQuery> queries = {{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
                                    {kSelectMeta}};
    for (PgQuery& query : NewsQueries(known, kMaxRead, membership().all()))
      queries.push_back(std::move(query));
    queries.push_back({"COMMIT"});
    return queries;
  };
  std::vector<PgRows> rows;
  absl::Time asked;
  RETURN_IF_ERROR(RunFirst(questions, rows, asked));
  ASSIGN_OR_RETURN(StoreNews news, NewsOf(rows, 1, known, kMaxRead, asked));
  news.must_load = news.must_load || std::exchange(news.is_behind, false);
  if (!news.must_load) feed_.Take(news.point);
  return news;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenPostgresStore(const PostgresOptions& options) {
  ASSIGN_OR_RETURN(auto session, OpenSession(options));
  return std::make_unique<PostgresStore>(options, std::move(session));
}

}  // namespace finetune
