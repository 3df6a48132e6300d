#include "server/store/sqlite_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/store/moved_to.h"
#include "server/store/sqlite_ledger.h"
#include "server/store/sqlite_session.h"
#include "server/store/sqlite_start.h"
#include "server/store/store_mark.h"

namespace finetune {
namespace {

// More starts than anybody looks back on; an era is some 60 bytes.
constexpr size_t kMaxEras = 1'000;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

// Needs no locks and asks nobody else: the file belongs to this process alone. Not thread-safe.
class SqliteStore : public Store {
 public:
  SqliteStore(std::unique_ptr<SqliteSession> session, std::unique_ptr<MarkFile> mark,
              Lineage lineage, std::string lost)
      : path_(session->path),
        epoch_(session->meta.epoch),
        session_(std::move(session)),
        mark_(std::move(mark)),
        lineage_(std::move(lineage)),
        lost_(std::move(lost)),
        committed_seq_(session_->meta.seq) {}
  ~SqliteStore() override;

  std::string_view system() const override { return "sqlite"; }
  absl::StatusOr<StoreState> Load() override;
  absl::StatusOr<StoreNews> Begin(const StorePoint& known, const TurnNeeds& needs) override;
  CommitOutcome Commit(const StoreBatch& batch) override;
  void Abandon() override {}
  absl::StatusOr<bool> Settle() override { return absl::InternalError("nothing is open"); }
  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& request_id) override;
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) override;
  absl::StatusOr<std::vector<std::optional<int64_t>>> FindTotals(
      const std::vector<TotalKey>& keys) override;
  absl::StatusOr<SpendingRows> ReadSpending(const SpendingQuery& query) override;
  absl::Status CheckWritable() override;
  absl::StatusOr<StoreNews> Read(const StorePoint& known) override {
    return StoreNews{.point = known};
  }
  void Follow(std::function<void()>) override {}

 private:
  absl::Status Unavailable(std::string_view why) const {
    return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
                 absl::StrCat("the store file ", path_, " cannot be used now: ", Absl(why)))
        .RetryAfter(absl::Seconds(1));
  }
  absl::Status Check(const SqliteError& error) const {
    return error.ok() ? absl::OkStatus() : Unavailable(error.message);
  }
  absl::Status CheckSum(bool same, std::string_view what) const {
    return same ? absl::OkStatus() : session_->Damaged(absl::StrCat(Absl(what), " cannot be read"));
  }
  StorePoint Now() const {
    return {lineage_.current(), session_->meta.seq, session_->meta.revision};
  }

  absl::Status EnsureOpen();
  absl::Status Reopen();
  // The log lost its name: what it holds is brought to safety.
  absl::Status RescueLog();
  // Ends a transaction that failed.
  void RollBack();
  // `next` becomes the record's meta once it is committed.
  absl::Status EndCommit(SqliteMeta next);
  absl::Status WriteMark();

  absl::Status BeginEra();
  absl::Status Write(const StoreBatch& batch);
  absl::Status WriteChange(const StoredChange& change, bool keep, int64_t& digest);
  absl::Status WriteRecord(const StoredChange& change, int64_t& digest);
  absl::Status WriteIntent(const record::Intent& intent, int64_t& digest);
  absl::Status Forget(SqliteStatement& statement, absl::Time before, int64_t& digest);
  absl::Status LoadRecords(StoreState& state, int64_t& digest);
  absl::Status LoadChanges(StoreState& state);
  absl::Status LoadIntents(StoreState& state, int64_t& digest);
  absl::Status CheckLedger(int64_t& digest);

  const std::string path_;
  const std::string epoch_;
  // Null after a failure that the connection did not survive.
  std::unique_ptr<SqliteSession> session_;
  const std::unique_ptr<MarkFile> mark_;  // Null for a store in memory.
  Lineage lineage_;
  std::string lost_;
  bool loaded_ = false;
  // Where a connection that is opened anew must find the record.
  uint64_t committed_seq_;
  // Not OK once the files are no longer what this process wrote; for good.
  absl::Status spoiled_;
};

SqliteStore::~SqliteStore() {
  if (session_ == nullptr) return;
  auto files = session_->LookAtFiles();
  if (files == SqliteSession::Files::kLogRemoved && session_->SaveLog().ok())
    files = SqliteSession::Files::kAsLeft;
  if (!loaded_ || !spoiled_.ok() || files != SqliteSession::Files::kAsLeft) {
    // What somebody else put there is not removed, either.
    session_->LeaveFilesAlone();
    return;
  }
  const SqliteMeta meta = session_->meta;
  // Closing brings the log into the file, and the mark says how that leaves it.
  session_.reset();
  if (mark_ == nullptr) return;
  (void)mark_->Write({.epoch = epoch_,
                      .era = lineage_.current(),
                      .seq = meta.seq,
                      .revision = meta.revision,
                      .file = FileStamp::Of(path_)});
  mark_->Sync();
}

absl::Status SqliteStore::EnsureOpen() {
  if (!spoiled_.ok()) return spoiled_;
  if (session_ == nullptr) RETURN_IF_ERROR(Reopen());
  switch (session_->LookAtFiles()) {
    case SqliteSession::Files::kAsLeft:
      return absl::OkStatus();
    case SqliteSession::Files::kTaken:
      return Unavailable("it was removed or replaced while in use");
    case SqliteSession::Files::kLogRemoved:
      return RescueLog();
    case SqliteSession::Files::kWrittenByOthers:
      session_->LeaveFilesAlone();
      return spoiled_ = Unavailable(
                 "it, or its -wal file, was written by somebody else while in use; the gateway "
                 "must be started anew");
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::Reopen() {
  auto session = SqliteSession::Open(path_, /*create=*/false);
  if (!session.ok()) {
    const absl::string_view why = session.status().message();
    return Unavailable({why.data(), why.size()});
  }
  const SqliteMeta& meta = (*session)->meta;
  if (meta.epoch != epoch_ || meta.seq != committed_seq_) {
    (*session)->LeaveFilesAlone();
    return Unavailable("it was replaced while in use");
  }
  session_ = *std::move(session);
  return absl::OkStatus();
}

absl::Status SqliteStore::RescueLog() {
  const SqliteError saved = session_->SaveLog();
  if (saved.ok()) {
    session_.reset();
    RETURN_IF_ERROR(Reopen());
    (void)WriteMark();
    Log(LogLevel::kError, "the store's write-ahead log was removed while in use; nothing was lost",
        {{"store", path_}});
  }
  // This commit is refused all the same: whoever removed the file may not be finished.
  return Unavailable("its -wal file was removed while in use");
}

void SqliteStore::RollBack() {
  if (session_->db.InTransaction() && !session_->db.Execute("ROLLBACK").ok()) {
    session_.reset();
  } else {
    // Part of what failed may have been written.
    session_->NoteFiles();
  }
}

absl::StatusOr<StoreNews> SqliteStore::Begin(const StorePoint& known, const TurnNeeds& needs) {
  return StoreNews{.point = known};
}

CommitOutcome SqliteStore::Commit(const StoreBatch& batch) {
  if (absl::Status open = EnsureOpen(); !open.ok()) return CommitOutcome::Of(std::move(open));
  absl::Status status = Write(batch);
  if (status.ok()) {
    // After an error the older mark stays, which is still true.
    (void)WriteMark();
  } else {
    RollBack();
  }
  return CommitOutcome::Of(std::move(status));
}

absl::Status SqliteStore::EndCommit(SqliteMeta next) {
  SqliteSession& s = *session_;
  s.set_meta.Bind(1, static_cast<int64_t>(next.revision))
      .Bind(2, static_cast<int64_t>(next.seq))
      .Bind(3, next.digest)
      .Bind(4, next.lost)
      .Bind(5, next.Sum());
  RETURN_IF_ERROR(Check(s.set_meta.Run()));
  RETURN_IF_ERROR(Check(s.commit.Run()));
  s.meta = std::move(next);
  committed_seq_ = s.meta.seq;
  s.NoteFiles();
  return absl::OkStatus();
}

absl::Status SqliteStore::WriteMark() {
  if (mark_ == nullptr || !loaded_) return absl::OkStatus();
  return mark_->Write({.epoch = epoch_,
                       .era = lineage_.current(),
                       .seq = session_->meta.seq,
                       .revision = session_->meta.revision,
                       .file = session_->file()});
}

absl::Status SqliteStore::BeginEra() {
  SqliteSession& s = *session_;
  SqliteMeta next = s.meta;
  ++next.seq;
  next.lost = lost_;
  // The commit that begins the era is its first.
  const Era era{.id = MakeEraId(),
                .base_revision = s.meta.revision,
                .base_seq = s.meta.seq,
                .began = absl::FromUnixNanos(absl::ToUnixNanos(absl::Now())),
                .why = "a start"};
  int64_t number = 0;
  RETURN_IF_ERROR(Check(s.begin.Run()));
  RETURN_IF_ERROR(Check(s.db.Query("SELECT max(number) + 1 FROM eras", number)));
  RETURN_IF_ERROR(Check(s.PutEra(number, era)));
  std::vector<Era> eras = lineage_.eras();
  eras.push_back(era);
  if (eras.size() > kMaxEras) {
    // The first stays: tokens of the first format are of it.
    RETURN_IF_ERROR(Check(s.db.Execute(absl::StrCat(
        "DELETE FROM eras WHERE number > 1 AND number <= ", number - int64_t{kMaxEras} + 1))));
    eras.erase(eras.begin() + 1, eras.end() - (kMaxEras - 1));
  }
  RETURN_IF_ERROR(EndCommit(std::move(next)));
  lineage_ = Lineage(std::move(eras));
  return absl::OkStatus();
}

absl::Status SqliteStore::Write(const StoreBatch& batch) {
  SqliteSession& s = *session_;
  RETURN_IF_ERROR(Check(s.begin.Run()));
  SqliteMeta next = s.meta;
  ++next.seq;
  for (const StoredChange& change : batch.changes) {
    if (change.revision != ++next.revision) {
      return absl::InternalError(
          absl::StrCat("revision ", change.revision, " instead of ", next.revision, " in a batch"));
    }
    RETURN_IF_ERROR(WriteChange(change, next.revision > batch.forget_changes_through, next.digest));
  }
  if (batch.forget_changes_through > 0) {
    s.forget_changes.Bind(1, static_cast<int64_t>(batch.forget_changes_through));
    RETURN_IF_ERROR(Check(s.forget_changes.Run()));
  }
  for (const record::Intent& intent : batch.put_intents)
    RETURN_IF_ERROR(WriteIntent(intent, next.digest));
  RETURN_IF_ERROR(Check(SqliteLedger(s).Write(batch, next.digest)));
  RETURN_IF_ERROR(Forget(s.forget_intents, batch.forget_intents_before, next.digest));
  RETURN_IF_ERROR(Forget(s.forget_refusals, batch.forget_refusals_before, next.digest));
  return EndCommit(std::move(next));
}

absl::Status SqliteStore::WriteChange(const StoredChange& change, bool keep, int64_t& digest) {
  RETURN_IF_ERROR(WriteRecord(change, digest));
  return keep ? Check(session_->PutChange(change)) : absl::OkStatus();
}

absl::Status SqliteStore::WriteRecord(const StoredChange& change, int64_t& digest) {
  SqliteSession& s = *session_;
  const std::string& id = change.fine_tune_id;
  if (change.before.empty() && !change.forgotten) {
    return Check(s.PutRecord(static_cast<int64_t>(change.revision), id, change.after, digest));
  }
  const bool found = s.find_fine_tune.Bind(1, id).Step();
  const int64_t first_revision = found ? s.find_fine_tune.Number(0) : 0;
  const int64_t old_sum = found ? s.find_fine_tune.Number(1) : 0;
  RETURN_IF_ERROR(Check(s.find_fine_tune.Reset()));
  if (!found) {
    return absl::InternalError(absl::StrCat("fine-tune ", id, " changed and is not in the store"));
  }
  digest ^= old_sum;
  if (change.forgotten) return Check(s.delete_fine_tune.Bind(1, first_revision).Run());
  const int64_t sum = SumOfRecord(first_revision, id, change.after);
  digest ^= sum;
  s.update_fine_tune.Bind(1, first_revision).BindBlob(2, change.after).Bind(3, sum);
  return Check(s.update_fine_tune.Run());
}

absl::Status SqliteStore::WriteIntent(const record::Intent& intent, int64_t& digest) {
  SqliteSession& s = *session_;
  if (s.find_intent.Bind(1, intent.caller()).Bind(2, intent.request_id()).Step())
    digest ^= s.find_intent.Number(1);
  RETURN_IF_ERROR(Check(s.find_intent.Reset()));
  return Check(s.PutIntent(intent, digest));
}

absl::Status SqliteStore::Forget(SqliteStatement& statement, absl::Time before, int64_t& digest) {
  if (before == absl::InfinitePast()) return absl::OkStatus();
  statement.Bind(1, absl::ToUnixNanos(before));
  while (statement.Step()) digest ^= statement.Number(0);
  return Check(statement.Reset());
}

absl::StatusOr<StoreState> SqliteStore::Load() {
  if (loaded_) {
    RETURN_IF_ERROR(EnsureOpen());
  } else {
    RETURN_IF_ERROR(session_->CheckStructure());
  }
  StoreState state;
  SqliteStatement key;
  RETURN_IF_ERROR(Check(session_->db.Prepare("SELECT key FROM marker_key", key)));
  if (key.Step()) state.marker_key = key.Blob(0);
  RETURN_IF_ERROR(Check(key.Reset()));
  int64_t digest = 0;
  RETURN_IF_ERROR(LoadRecords(state, digest));
  RETURN_IF_ERROR(LoadIntents(state, digest));
  RETURN_IF_ERROR(CheckLedger(digest));
  RETURN_IF_ERROR(CheckSum(digest == session_->meta.digest, "not all that was written"));
  RETURN_IF_ERROR(LoadChanges(state));
  if (!loaded_) {
    if (absl::Status begun = BeginEra(); !begun.ok()) {
      RollBack();
      return begun;
    }
    loaded_ = true;
    RETURN_IF_ERROR(WriteMark());
    if (mark_ != nullptr) mark_->Sync();
  }
  state.epoch = epoch_;
  state.lineage = lineage_;
  state.point = Now();
  state.lost = lost_;
  return state;
}

absl::Status SqliteStore::LoadRecords(StoreState& state, int64_t& digest) {
  int64_t count = 0;
  RETURN_IF_ERROR(Check(session_->db.Query("SELECT count(*) FROM fine_tunes", count)));
  state.records.reserve(static_cast<size_t>(count));
  SqliteStatement select;
  RETURN_IF_ERROR(Check(session_->db.Prepare(
      "SELECT first_revision, id, record, sum FROM fine_tunes ORDER BY first_revision", select)));
  bool whole = true;
  while (select.Step()) {
    const int64_t sum = select.Number(3);
    whole = whole && sum == SumOfRecord(select.Number(0), select.Blob(1), select.Blob(2));
    digest ^= sum;
    state.records.emplace_back(select.Blob(2));
  }
  RETURN_IF_ERROR(Check(select.Reset()));
  return CheckSum(whole, "a fine-tune");
}

absl::Status SqliteStore::LoadChanges(StoreState& state) {
  SqliteStatement select;
  RETURN_IF_ERROR(Check(session_->db.Prepare(
      "SELECT revision, time, id, after, before, forgotten, sum FROM changes ORDER BY revision",
      select)));
  bool whole = true;
  while (select.Step()) {
    StoredChange& change = state.changes.emplace_back();
    change.revision = static_cast<uint64_t>(select.Number(0));
    change.time = absl::FromUnixNanos(select.Number(1));
    change.fine_tune_id = select.Blob(2);
    change.after = select.Blob(3);
    change.before = select.Blob(4);
    change.forgotten = select.Number(5) != 0;
    whole = whole &&
            select.Number(6) == SumOfChange(select.Number(0), select.Number(1), change.fine_tune_id,
                                            change.after, change.before, change.forgotten);
  }
  RETURN_IF_ERROR(Check(select.Reset()));
  const uint64_t first = session_->meta.revision - state.changes.size() + 1;
  for (size_t i = 0; i < state.changes.size() && whole; ++i)
    whole = state.changes[i].revision == first + i;
  return CheckSum(whole, "the log of changes");
}

// All of them are looked at, for each may be asked for later.
absl::Status SqliteStore::LoadIntents(StoreState& state, int64_t& digest) {
  SqliteStatement select;
  RETURN_IF_ERROR(Check(session_->db.Prepare(
      "SELECT caller, request_id, state, settle_time, create_time, intent, sum FROM intents",
      select)));
  bool whole = true;
  while (whole && select.Step()) {
    record::Intent intent;
    const std::string_view bytes = select.Blob(5);
    const int64_t sum = select.Number(6);
    whole = sum == SumOfIntent(select.Blob(0), select.Blob(1), bytes) &&
            intent.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    const IntentColumns columns(intent);
    whole = whole && select.Blob(0) == intent.caller() && select.Blob(1) == intent.request_id() &&
            select.Number(2) == columns.state && select.Number(4) == columns.create_time &&
            select.Number(3) == columns.settle_time.value_or(0);
    digest ^= sum;
    if (columns.state < record::Intent::ACCEPTED)
      state.unsettled_intents.push_back(std::move(intent));
  }
  RETURN_IF_ERROR(Check(select.Reset()));
  return CheckSum(whole, "a submission's intent");
}

// Each of them may be asked for later.
absl::Status SqliteStore::CheckLedger(int64_t& digest) {
  bool whole = true;
  RETURN_IF_ERROR(Check(SqliteLedger(*session_).Load(digest, whole)));
  return CheckSum(whole, "the spending");
}

absl::StatusOr<std::vector<std::optional<int64_t>>> SqliteStore::FindTotals(
    const std::vector<TotalKey>& keys) {
  RETURN_IF_ERROR(EnsureOpen());
  std::vector<std::optional<int64_t>> amounts;
  bool whole = true;
  RETURN_IF_ERROR(Check(SqliteLedger(*session_).FindTotals(keys, amounts, whole)));
  if (!whole) return Unavailable("it is damaged: what was spent cannot be read");
  return amounts;
}

absl::StatusOr<SpendingRows> SqliteStore::ReadSpending(const SpendingQuery& query) {
  RETURN_IF_ERROR(EnsureOpen());
  SpendingRows rows;
  bool whole = true;
  RETURN_IF_ERROR(Check(SqliteLedger(*session_).Read(query, rows, whole)));
  if (!whole) return Unavailable("it is damaged: what was spent cannot be read");
  return rows;
}

absl::StatusOr<std::optional<record::Intent>> SqliteStore::FindIntent(
    const std::string& caller, const std::string& request_id) {
  RETURN_IF_ERROR(EnsureOpen());
  SqliteStatement& find = session_->find_intent;
  std::optional<record::Intent> intent;
  bool whole = true;
  if (find.Bind(1, caller).Bind(2, request_id).Step()) {
    const std::string_view bytes = find.Blob(0);
    whole = find.Number(1) == SumOfIntent(caller, request_id, bytes) &&
            intent.emplace().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }
  RETURN_IF_ERROR(Check(find.Reset()));
  if (!whole) return Unavailable("it is damaged: a submission's intent cannot be read");
  return intent;
}

absl::StatusOr<CreateCount> SqliteStore::CountCreates(const std::string& caller, absl::Time since) {
  RETURN_IF_ERROR(EnsureOpen());
  SqliteStatement& select = session_->count_creates;
  CreateCount creates;
  if (select.Bind(1, caller).Bind(2, absl::ToUnixNanos(since)).Step()) {
    creates.count = select.Number(0);
    if (creates.count > 0) creates.oldest = absl::FromUnixNanos(select.Number(1));
  }
  RETURN_IF_ERROR(Check(select.Reset()));
  return creates;
}

absl::Status SqliteStore::CheckWritable() {
  RETURN_IF_ERROR(EnsureOpen());
  const SqliteError error =
      session_->db.Execute("BEGIN IMMEDIATE; UPDATE meta SET revision = revision; COMMIT");
  if (!error.ok()) {
    RollBack();
  } else {
    session_->NoteFiles();
    (void)WriteMark();
  }
  return Check(error);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path,
                                                       const SqliteOptions& options) {
  std::unique_ptr<MarkFile> mark;
  std::optional<StoreMark> said;
  if (path != ":memory:") {
    mark = std::make_unique<MarkFile>(path + "-mark");
    said = mark->Read();
    RETURN_IF_ERROR(CheckRecordIsThere(path, said, options));
  }
  ASSIGN_OR_RETURN(auto session, SqliteSession::Open(path, /*create=*/true));
  const std::string& moved_to = session->meta.moved_to;
  if (!moved_to.empty() && (!options.accept_unfinished_move || UnderWayTo(moved_to).empty()))
    return session->Refusal(WhyNotHere(moved_to));
  ASSIGN_OR_RETURN(Lineage lineage, session->ReadEras());
  auto lost = JudgeRecord(*session, lineage, said, options);
  if (!lost.ok()) {
    session->LeaveFilesAlone();
    return lost.status();
  }
  return std::make_unique<SqliteStore>(std::move(session), std::move(mark), std::move(lineage),
                                       *std::move(lost));
}

}  // namespace finetune
