#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/file_stamp.h"
#include "server/store/sqlite_database.h"
#include "server/store/sqlite_schema.h"
#include "server/store/store.h"

namespace finetune {

// UNAVAILABLE / STORE_UNAVAILABLE: why the store file at `path` cannot be used now.
absl::Status SqliteUnavailable(std::string_view path, std::string_view why);

// An open store file: the connection, with its lock on the file, and the prepared statements. Not
// thread-safe.
struct SqliteSession {
  // What became of the files since this process last wrote them.
  enum class Files {
    kAsLeft,
    // The path no longer leads to the open file: what is written to the file would be lost.
    kTaken,
    // Only the name of the write-ahead log is gone; the open log is whole.
    kLogRemoved,
    // Somebody else wrote to one of them: what is read from them can no longer be trusted.
    kWrittenByOthers,
  };

  // FAILED_PRECONDITION, in one sentence that names the file, if it cannot be opened, is held by
  // another process, is not a store, is damaged, or was written by a newer version. Without
  // `create` the file must exist.
  static absl::StatusOr<std::unique_ptr<SqliteSession>> Open(const std::string& path, bool create);
  ~SqliteSession();

  Files LookAtFiles() const;
  // Remembers how the files look, after this process wrote them.
  void NoteFiles();
  // The file as it was last noted.
  const FileStamp& file() const { return file_; }
  // Copies the log into the file, and syncs it to the disk.
  SqliteError SaveLog();
  // From now on nothing is written, not even by closing.
  void LeaveFilesAlone();

  // Checks the file's structure, page by page. DATA_LOSS if it is damaged.
  absl::Status CheckStructure();
  absl::StatusOr<Lineage> ReadEras();

  // Each writes one row with its sum and, for the tables that meta counts, joins that sum into
  // `digest`. Call them within a transaction.
  SqliteError PutEra(int64_t number, const Era& era);
  SqliteError PutRecord(int64_t first_revision, std::string_view id, std::string_view record,
                        int64_t& digest);
  SqliteError PutChange(const StoredChange& change);
  SqliteError PutIntent(const record::Intent& intent, int64_t& digest);

  absl::Status Refusal(std::string_view what) const;
  absl::Status Refusal(const SqliteError& error) const;
  // DATA_LOSS that says what is wrong, and what to do about it.
  absl::Status Damaged(std::string_view what) const;
  // Damaged() unless `is_whole`: `what` cannot be read.
  absl::Status CheckWhole(bool is_whole, std::string_view what) const;
  // SqliteUnavailable() unless `error` is OK.
  absl::Status Check(const SqliteError& error) const;

  std::string path;
  SqliteConnection db;
  // As committed.
  SqliteMeta meta;

  SqliteStatement begin;
  SqliteStatement commit;
  SqliteStatement set_meta;
  SqliteStatement put_era;
  SqliteStatement insert_fine_tune;
  SqliteStatement find_fine_tune;
  SqliteStatement update_fine_tune;
  SqliteStatement delete_fine_tune;
  SqliteStatement insert_change;
  SqliteStatement forget_changes;
  SqliteStatement put_intent;
  SqliteStatement find_intent;
  SqliteStatement forget_intents;
  SqliteStatement forget_refusals;
  SqliteStatement count_creates;
  SqliteStatement put_spending;
  SqliteStatement find_spending;
  SqliteStatement delete_spending;
  SqliteStatement forget_spending;
  SqliteStatement put_total;
  SqliteStatement find_total;
  SqliteStatement find_totals_of;
  SqliteStatement forget_totals;

 private:
  absl::Status CreateFile(bool create);
  absl::Status OpenFile();
  absl::Status MakeTables();
  absl::Status ReadMeta();
  SqliteError PrepareAll();
  bool InMemory() const;
  std::string LogPath() const { return path + "-wal"; }

  FileStamp file_;
  FileStamp log_;
  // The write-ahead log, to look at even when its name is gone. -1 until there is one.
  int log_file_ = -1;
};

}  // namespace finetune
