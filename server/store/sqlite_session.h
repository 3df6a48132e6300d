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

// An open store file: the connection, with the lock on the file, and the statements. Not
// thread-safe.
struct SqliteSession {
  // What became of the files since this process last wrote them.
  enum class Files {
    kAsLeft,
    // The path no longer leads to the open file: what is written to it would be lost.
    kTaken,
    // Only the write-ahead log's name is gone; the open log is whole.
    kLogRemoved,
    // Somebody else wrote to one of them: what is read from them means nothing any more.
    kWrittenByOthers,
  };

  // FAILED_PRECONDITION, in one sentence that names the file, if it cannot be opened, is held by
  // another process, is not a store, is damaged, or was written by a newer version. Without
  // `create` the file must exist.
  static absl::StatusOr<std::unique_ptr<SqliteSession>> Open(const std::string& path, bool create);
  ~SqliteSession();

  Files LookAtFiles() const;
  // After own writes.
  void NoteFiles();
  // The file as it was last noted.
  const FileStamp& file() const { return file_; }
  // Copies the log into the file, to the disk.
  SqliteError SaveLog();
  // Closing writes nothing any more.
  void LeaveFilesAlone();

  // Whether the file's structure is whole, page by page. DATA_LOSS.
  absl::Status CheckStructure();
  absl::StatusOr<Lineage> ReadEras();

  // Within a transaction: one row each, with its sum, which goes into `digest` as well, where meta
  // counts the table.
  SqliteError PutEra(int64_t number, const Era& era);
  SqliteError PutRecord(int64_t first_revision, std::string_view id, std::string_view record,
                        int64_t& digest);
  SqliteError PutChange(const StoredChange& change);
  SqliteError PutIntent(const record::Intent& intent, int64_t& digest);

  absl::Status Refusal(std::string_view what) const;
  absl::Status Refusal(const SqliteError& error) const;
  // DATA_LOSS: what is wrong, and what to do about it.
  absl::Status Damaged(std::string_view what) const;

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
  // The write-ahead log, to look at it when it has no name any more. -1 until there is one.
  int log_file_ = -1;
};

}  // namespace finetune
