#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace finetune {

// A result code of SQLite with the library's own words for it.
struct SqliteError {
  int code = SQLITE_OK;
  std::string message;
  bool ok() const { return code == SQLITE_OK; }
};

// A prepared statement, for any number of runs:
//
//   statement.Bind(1, id).Bind(2, revision);
//   while (statement.Step()) Use(statement.Blob(0));
//   SqliteError error = statement.Reset();
//
// Not thread-safe. Must be destroyed before its connection.
class SqliteStatement {
 public:
  SqliteStatement() = default;

  // Indices count from 1. The bytes must live until Reset.
  SqliteStatement& Bind(int index, std::string_view text);
  SqliteStatement& BindBlob(int index, std::string_view bytes);
  SqliteStatement& Bind(int index, int64_t number);
  SqliteStatement& BindNull(int index);

  // Whether there is a row. Reset reports errors.
  bool Step();
  // Ends the run and says how it went.
  SqliteError Reset();
  // For statements without rows: steps once and resets.
  SqliteError Run();

  // Columns of the current row, counted from 0; valid until the next Step.
  std::string_view Blob(int column) const;
  int64_t Number(int column) const;
  bool IsNull(int column) const;

 private:
  friend class SqliteConnection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bind_error_ = SQLITE_OK;
};

// A connection that locks its file against all other processes. Not thread-safe.
class SqliteConnection {
 public:
  // Opens the file or makes it; its folder must exist.
  SqliteError Open(const std::string& path);

  SqliteError Execute(const std::string& sql);
  SqliteError Prepare(const char* sql, SqliteStatement& statement);
  // Runs a statement that yields one number.
  SqliteError Query(const char* sql, int64_t& number);
  bool InTransaction() const { return sqlite3_get_autocommit(db_.get()) == 0; }
  int RowsChanged() const { return sqlite3_changes(db_.get()); }
  // From now on closing does not copy the write-ahead log into the file.
  void LeaveLogOnClose();

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
};

}  // namespace finetune
