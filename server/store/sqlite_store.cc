#include "server/store/sqlite_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/store/moved_to.h"
#include "server/store/sqlite_ledger.h"
#include "server/store/sqlite_record.h"
#include "server/store/sqlite_session.h"
#include "server/store/sqlite_start.h"
#include "server/store/store_mark.h"

namespace finetune {
namespace {

// More starts than anybody looks back on; an era takes some 60 bytes.
constexpr size_t kMostEras = 1'000;

// Needs no locks and no questions to others: the file belongs to this process alone. Not
// thread-safe.
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
  absl::Status Unavailable(std::string_view why) const { return SqliteUnavailable(path_, why); }
  StorePoint Now() const {
    return {lineage_.current(), session_->meta.seq, session_->meta.revision};
  }

  absl::Status EnsureOpen();
  absl::Status Reopen();
  // Saves what the log holds, after its file was removed.
  absl::Status RescueLog();
  // Ends a transaction that failed.
  void RollBack();
  // `next` becomes the record's meta once it is committed.
  absl::Status EndCommit(SqliteMeta next);
  absl::Status WriteMark();

  absl::Status BeginEra();
  absl::Status Write(const StoreBatch& batch);
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
    // Nor are files removed that somebody else put there.
    session_->LeaveFilesAlone();
    return;
  }
  const SqliteMeta meta = session_->meta;
  // Closing moves the log into the file, and the mark says how that leaves it.
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
  // This commit is refused all the same, because whoever removed the file may go on.
  return Unavailable("its -wal file was removed while in use");
}

void SqliteStore::RollBack() {
  if (session_->db.InTransaction() && !session_->db.Execute("ROLLBACK").ok()) {
    session_.reset();
  } else {
    // Part of the failed commit may have been written.
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
  RETURN_IF_ERROR(s.Check(s.set_meta.Run()));
  RETURN_IF_ERROR(s.Check(s.commit.Run()));
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
  // The commit that begins the era is the era's first.
  const Era era{.id = MakeEraId(),
                .base_revision = s.meta.revision,
                .base_seq = s.meta.seq,
                .began = absl::FromUnixNanos(absl::ToUnixNanos(absl::Now())),
                .why = "a start"};
  int64_t number = 0;
  RETURN_IF_ERROR(s.Check(s.begin.Run()));
  RETURN_IF_ERROR(s.Check(s.db.Query("SELECT max(number) + 1 FROM eras", number)));
  RETURN_IF_ERROR(s.Check(s.PutEra(number, era)));
  std::vector<Era> eras = lineage_.eras();
  eras.push_back(era);
  if (eras.size() > kMostEras) {
    // The first era stays, because tokens of the first format belong to it.
    RETURN_IF_ERROR(s.Check(s.db.Execute(absl::StrCat(
        "DELETE FROM eras WHERE number > 1 AND number <= ", number - int64_t{kMostEras} + 1))));
    eras.erase(eras.begin() + 1, eras.end() - (kMostEras - 1));
  }
  RETURN_IF_ERROR(EndCommit(std::move(next)));
  lineage_ = Lineage(std::move(eras));
  return absl::OkStatus();
}

absl::Status SqliteStore::Write(const StoreBatch& batch) {
  SqliteSession& s = *session_;
  RETURN_IF_ERROR(s.Check(s.begin.Run()));
  SqliteMeta next = s.meta;
  ++next.seq;
  RETURN_IF_ERROR(SqliteRecord(s).Write(batch, next));
  RETURN_IF_ERROR(s.Check(SqliteLedger(s).Write(batch, next.digest)));
  return EndCommit(std::move(next));
}

absl::StatusOr<StoreState> SqliteStore::Load() {
  if (loaded_) {
    RETURN_IF_ERROR(EnsureOpen());
  } else {
    RETURN_IF_ERROR(session_->CheckStructure());
  }
  StoreState state;
  SqliteRecord record(*session_);
  int64_t digest = 0;
  RETURN_IF_ERROR(record.Load(state, digest));
  RETURN_IF_ERROR(CheckLedger(digest));
  RETURN_IF_ERROR(
      session_->CheckWhole(digest == session_->meta.digest, "not all that was written"));
  RETURN_IF_ERROR(record.LoadChanges(state));
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

// All of it is checked, because any part may be asked for later.
absl::Status SqliteStore::CheckLedger(int64_t& digest) {
  bool whole = true;
  RETURN_IF_ERROR(session_->Check(SqliteLedger(*session_).Load(digest, whole)));
  return session_->CheckWhole(whole, "the spending");
}

absl::StatusOr<std::vector<std::optional<int64_t>>> SqliteStore::FindTotals(
    const std::vector<TotalKey>& keys) {
  RETURN_IF_ERROR(EnsureOpen());
  std::vector<std::optional<int64_t>> amounts;
  bool whole = true;
  RETURN_IF_ERROR(session_->Check(SqliteLedger(*session_).FindTotals(keys, amounts, whole)));
  if (!whole) return Unavailable("it is damaged: what was spent cannot be read");
  return amounts;
}

absl::StatusOr<SpendingRows> SqliteStore::ReadSpending(const SpendingQuery& query) {
  RETURN_IF_ERROR(EnsureOpen());
  SpendingRows rows;
  bool whole = true;
  RETURN_IF_ERROR(session_->Check(SqliteLedger(*session_).Read(query, rows, whole)));
  if (!whole) return Unavailable("it is damaged: what was spent cannot be read");
  return rows;
}

absl::StatusOr<std::optional<record::Intent>> SqliteStore::FindIntent(
    const std::string& caller, const std::string& request_id) {
  RETURN_IF_ERROR(EnsureOpen());
  return SqliteRecord(*session_).FindIntent(caller, request_id);
}

absl::StatusOr<CreateCount> SqliteStore::CountCreates(const std::string& caller, absl::Time since) {
  RETURN_IF_ERROR(EnsureOpen());
  return SqliteRecord(*session_).CountCreates(caller, since);
}

absl::Status SqliteStore::CheckWritable() {
  RETURN_IF_ERROR(EnsureOpen());
  const SqliteError error =
      session_->db.Execute("BEGIN IMMEDIATE; UPDATE meta SET revision = revision; COMMIT");
  if (!error.ok()) {
    RollBack();
    return Unavailable(error.message);
  }
  session_->NoteFiles();
  (void)WriteMark();
  return absl::OkStatus();
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
