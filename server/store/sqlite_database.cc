#include "server/store/sqlite_database.h"

namespace finetune {
namespace {

SqliteError ErrorOf(sqlite3* db, int code) {
  if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return {};
  SqliteError error{code, sqlite3_errstr(code)};
  if (db != nullptr && (sqlite3_errcode(db) & 0xff) == (code & 0xff)) {
    if (const char* message = sqlite3_errmsg(db)) error.message = message;
  }
  return error;
}

}  // namespace

SqliteStatement& SqliteStatement::Bind(int index, std::string_view text) {
  // A null pointer would bind NULL instead of the empty text.
  const char* data = text.data() == nullptr ? "" : text.data();
  const int code =
      sqlite3_bind_text64(statement_.get(), index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::BindBlob(int index, std::string_view bytes) {
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  const int code = sqlite3_bind_blob64(statement_.get(), index, data, bytes.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int index, int64_t number) {
  const int code = sqlite3_bind_int64(statement_.get(), index, number);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::BindNull(int index) {
  const int code = sqlite3_bind_null(statement_.get(), index);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

bool SqliteStatement::Step() {
  return bind_error_ == SQLITE_OK && sqlite3_step(statement_.get()) == SQLITE_ROW;
}

SqliteError SqliteStatement::Reset() {
  sqlite3* db = sqlite3_db_handle(statement_.get());
  const int code = sqlite3_reset(statement_.get());
  SqliteError error = ErrorOf(db, code != SQLITE_OK ? code : bind_error_);
  sqlite3_clear_bindings(statement_.get());
  bind_error_ = SQLITE_OK;
  return error;
}

SqliteError SqliteStatement::Run() {
  Step();
  return Reset();
}

std::string_view SqliteStatement::Blob(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data),
          static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

int64_t SqliteStatement::Number(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

bool SqliteStatement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

SqliteError SqliteConnection::Open(const std::string& path) {
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  db_.reset(db);
  if (code != SQLITE_OK) return ErrorOf(db, code);
  sqlite3_extended_result_codes(db, 1);
  return {};
}

SqliteError SqliteConnection::Execute(const std::string& sql) {
  return ErrorOf(db_.get(), sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr));
}

SqliteError SqliteConnection::Prepare(const char* sql, SqliteStatement& statement) {
  sqlite3_stmt* prepared = nullptr;
  const int code =
      sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr);
  statement.statement_.reset(prepared);
  return ErrorOf(db_.get(), code);
}

SqliteError SqliteConnection::Query(const char* sql, int64_t& number) {
  SqliteStatement statement;
  SqliteError error = Prepare(sql, statement);
  if (!error.ok()) return error;
  if (statement.Step()) number = statement.Number(0);
  return statement.Reset();
}

void SqliteConnection::LeaveLogOnClose() {
  sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

}  // namespace finetune
