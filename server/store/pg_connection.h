#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace finetune {

// Where a PostgreSQL database is, and how to log in.
struct PgTarget {
  std::string url;            // postgresql://…, without a password.
  std::string password_file;  // Read for each connection; empty if no password is needed.
  std::string ca_file;        // Empty for libpq's default.
};

// How queries ended: with no message if they went well, else with PostgreSQL's five-character code
// (empty if the connection broke) and a message.
struct PgError {
  std::string state;
  std::string message;
  bool ok() const { return message.empty(); }
  bool broken() const { return !ok() && state.empty(); }
  // Whether the server answered and may answer the same question differently later: once it has
  // room, memory or connections again, has started, can be written, or others have released what it
  // needs.
  bool passes() const;
  // The message, preceded by what operators should look at if the server's words do not say that.
  std::string words() const;
};

// A value for a statement's parameter, in PostgreSQL's binary form. The SQL says its type.
class PgValue {
 public:
  static PgValue Null() { return PgValue(); }
  static PgValue Bytes(std::string_view bytes) { return PgValue(std::string(bytes)); }
  static PgValue Text(std::string_view text) { return PgValue(std::string(text)); }
  static PgValue Number(int64_t number);
  // An array of one of these types.
  static constexpr uint32_t kBytea = 17, kBigint = 20, kText = 25;
  static PgValue Array(uint32_t type, const std::vector<PgValue>& elements);
  static PgValue Texts(const std::vector<std::string>& texts);

  const char* data() const { return is_null_ ? nullptr : bytes_.data(); }
  int size() const { return static_cast<int>(bytes_.size()); }

 private:
  PgValue() : is_null_(true) {}
  explicit PgValue(std::string bytes) : bytes_(std::move(bytes)) {}
  bool is_null_ = false;
  std::string bytes_;
};

// For revisions and numbers of commits, which the database keeps as bigints.
inline int64_t Signed(uint64_t number) { return static_cast<int64_t>(number); }

// A statement with the values of its parameters. The text must outlive it.
struct PgQuery {
  PgQuery(const char* statement, std::vector<PgValue> parameters = {})  // NOLINT: it is the text.
      : sql(statement), values(std::move(parameters)) {}
  const char* sql;
  std::vector<PgValue> values;
};

// The rows of one statement. A value; copies share the rows.
class PgRows {
 public:
  explicit PgRows(PGresult* result) : result_(result, PQclear) {}

  int size() const { return PQntuples(result_.get()); }
  bool IsNull(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  // Empty if there is no such row.
  std::string_view Bytes(int row, int column) const {
    const char* bytes = PQgetvalue(result_.get(), row, column);
    if (bytes == nullptr) return {};
    return {bytes, static_cast<size_t>(PQgetlength(result_.get(), row, column))};
  }
  // The value of a bigint.
  int64_t Number(int row, int column) const;
  // The server's name for what it did: `COMMIT`, or `ROLLBACK` instead of it.
  std::string_view tag() const { return PQcmdStatus(result_.get()); }

 private:
  std::shared_ptr<PGresult> result_;
};

// A connection to a database, on which nothing waits beyond its deadline. Not thread-safe.
class PgConnection {
 public:
  // FAILED_PRECONDITION, in a sentence that names no secret, if the target makes no sense;
  // UNAVAILABLE if no server answers, or if it refuses the login. Each of several places in the URL
  // gets its share of the time, and the first that can be written is taken.
  static absl::StatusOr<std::unique_ptr<PgConnection>> Open(const PgTarget& target,
                                                            absl::Time deadline);

  // Sends all queries at once and collects the answers; queries after one that fails are not run.
  // Without an error, `rows` has the rows of each query. After a broken connection or a missed
  // deadline, `rows` has what was answered until then, and only the destructor may be called.
  PgError Run(const std::vector<PgQuery>& queries, absl::Time deadline, std::vector<PgRows>& rows);

  // Waits until a session notifies a channel that this one listens to, until `wake` (a descriptor,
  // or -1) can be read, or until the deadline. Appends all notifications so far, including those
  // that came during Run, to `payloads`.
  PgError Wait(int wake, absl::Time deadline, std::vector<std::string>& payloads);

  bool broken() const { return broken_; }
  // Whether the server has sent a warning since the last call of Run began.
  bool warned() const { return warned_; }
  // The number of the server's process, according to whatever accepted the connection.
  int backend() const { return PQbackendPID(connection_.get()); }
  int server_version() const { return PQserverVersion(connection_.get()); }
  std::string user() const { return PQuser(connection_.get()); }
  std::string database() const { return PQdb(connection_.get()); }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  explicit PgConnection(PGconn* connection) : connection_(connection) {}

  static absl::StatusOr<std::unique_ptr<PgConnection>> OpenPlace(
      const std::map<std::string, std::string>& settings, absl::Time deadline);
  static void OnNotice(void* self, const PGresult* notice);
  PgError Broken(std::string_view why);
  // Puts the queries, and the end of them, into what is to be sent.
  PgError Send(const std::vector<PgQuery>& queries);
  // What a statement failed with; marks the connection as broken if nothing more can be asked on
  // it.
  PgError ErrorOf(const PGresult* result, absl::string_view sql);
  // Waits until there is something to read or, if `to_write`, room to write. False at the deadline.
  bool WaitForSocket(bool to_write, absl::Time deadline) const;
  void TakeNotifications(std::vector<std::string>& payloads);
  // Sends and reads alternately, so that neither side waits for the other.
  bool Exchange(absl::Time deadline, PgError& error);

  std::unique_ptr<PGconn, Finish> connection_;
  bool broken_ = false;
  bool warned_ = false;
};

// Whether the target makes sense; does not connect. Errors as PgConnection::Open.
absl::Status CheckPgTarget(const PgTarget& target);

// The URL as it may be shown: only the place, without anything else that it may hold.
std::string ShownPgUrl(const std::string& url);

}  // namespace finetune
