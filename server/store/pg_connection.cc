#include "server/store/pg_connection.h"

#include <poll.h>

#include <algorithm>
#include <map>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/clock.h"
#include "server/base/read_file.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

void AppendBigEndian(std::string& out, uint64_t number, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(number >> shift));
}

// libpq's messages have several lines, and end with a line break.
std::string OneLine(const char* message) {
  const std::vector<std::string> lines = absl::StrSplit(message, '\n', absl::SkipWhitespace());
  std::string text;
  for (const std::string& line : lines)
    absl::StrAppend(&text, text.empty() ? "" : "; ", absl::StripAsciiWhitespace(line));
  return text.empty() ? "the connection was lost" : text;
}

using Settings = std::map<std::string, std::string>;

absl::Status HoldsPassword() {
  return absl::FailedPreconditionError(
      "the URL holds a password, which everybody can see who lists processes: put it into a file "
      "and give that as --store_password_file");
}

absl::StatusOr<Settings> ParseUrl(const std::string& url) {
  // Checked before libpq parses the URL: libpq takes what follows a `/` or `?` in a password for
  // another part of the URL, and quotes it in its message.
  const size_t begin = url.find("//");
  const size_t end = url.rfind('@');
  if (begin != url.npos && end != url.npos && begin < end &&
      absl::StrContains(absl::string_view(url).substr(begin, end - begin), ":"))
    return HoldsPassword();
  char* error = nullptr;
  PQconninfoOption* options = PQconninfoParse(url.c_str(), &error);
  PQfreemem(error);  // It may quote a password.
  if (options == nullptr) {
    return absl::FailedPreconditionError(
        "this is not the URL of a PostgreSQL database (postgresql://USER@HOST:PORT/DATABASE)");
  }
  Settings settings;
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    if (option->val != nullptr) settings[option->keyword] = option->val;
  }
  PQconninfoFree(options);
  return settings;
}

bool IsLocal(const Settings& settings) {
  const auto host = settings.find("host");
  if (host == settings.end() || host->second.empty()) return true;
  for (const absl::string_view one : absl::StrSplit(host->second, ',')) {
    if (!absl::StartsWith(one, "/") && one != "localhost" && one != "::1" &&
        !absl::StartsWith(one, "127.")) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<Settings> SettingsOf(const PgTarget& target) {
  ASSIGN_OR_RETURN(Settings settings, ParseUrl(target.url));
  if (settings.contains("password")) {
    return HoldsPassword();
  }
  if (!target.password_file.empty()) {
    ASSIGN_OR_RETURN(const FileText password, ReadFile(target.password_file));
    settings["password"] = std::string(absl::StripAsciiWhitespace(password.text));
  }
  if (!target.ca_file.empty()) settings["sslrootcert"] = target.ca_file;
  // Callers write UTF-8, whatever the environment or the URL says.
  settings["client_encoding"] = "UTF8";
  settings.try_emplace("sslmode", IsLocal(settings) ? "prefer" : "verify-full");
  settings.try_emplace("application_name", "finetune-gateway");
  settings.try_emplace("connect_timeout", "3");
  // Without these, a connection that is cut off silently lasts for hours.
  settings.try_emplace("tcp_user_timeout", "5000");
  settings.try_emplace("keepalives_idle", "5");
  settings.try_emplace("keepalives_interval", "2");
  settings.try_emplace("keepalives_count", "3");
  return settings;
}

// The part of a comma-separated list for the place with this number; a single value is for all
// places.
std::string PartOf(const std::string& list, size_t number) {
  const std::vector<std::string> parts = absl::StrSplit(list, ',');
  return parts.size() == 1 ? list : number < parts.size() ? parts[number] : "";
}

// The settings for each place that the URL names. libpq would try them all within one attempt, and
// a silent one would use up the patience for all.
std::vector<Settings> PlacesOf(const Settings& settings) {
  constexpr const char* kLists[] = {"host", "hostaddr", "port"};
  const auto count = [&](const char* name) -> size_t {
    const auto found = settings.find(name);
    return found == settings.end() ? 1 : absl::c_count(found->second, ',') + 1;
  };
  std::vector<Settings> places(std::max(count("host"), count("hostaddr")), settings);
  for (size_t i = 0; i < places.size(); ++i) {
    for (const char* name : kLists) {
      if (auto found = places[i].find(name); found != places[i].end())
        found->second = PartOf(found->second, i);
    }
    // Only one of them is the primary.
    if (places.size() > 1) places[i].try_emplace("target_session_attrs", "read-write");
  }
  return places;
}

// The server is a standby, perhaps since a moment ago, and the primary is elsewhere. (The second
// code is the answer to a transaction that begins as one that writes.)
constexpr char kNotSupported[] = "0A000";
bool IsOfStandby(absl::string_view state) { return state == "25006" || state == kNotSupported; }

// What to do about what libpq says, where it does not say that itself.
constexpr std::pair<const char*, const char*> kAdvice[] = {
    {"password authentication failed", "give the role's password as --store_password_file"},
    {"no password supplied", "give the role's password as --store_password_file"},
    {"certificate verify failed",
     "give the authorities that the server's certificate comes from as --store_ca_file"},
    {"root certificate file",
     "give the authorities that the server's certificate comes from as --store_ca_file"},
    {"does not match host name",
     "give a name that the server's certificate is for, with hostaddr=ADDRESS in the URL where "
     "that "
     "name does not lead there"},
    {"does not support SSL",
     "set ssl=on there, or write ?sslmode=disable into the URL if nobody else is on the way"},
    {"no pg_hba.conf entry", "let the role in from here in the server's pg_hba.conf"},
};

// Why there is no connection, in one line, with what to do.
std::string WhyNotIn(const char* message) {
  std::string why = OneLine(message);
  // libpq's own advice is not to check certificates.
  if (const size_t end = why.find("; Either provide the file"); end != why.npos) why.resize(end);
  for (const auto& [words, advice] : kAdvice) {
    if (absl::StrContains(why, words)) return absl::StrCat(why, ": ", advice);
  }
  return why;
}

}  // namespace

bool PgError::passes() const {
  // The classes of insufficient resources, operator intervention, system errors, and conflicts with
  // others.
  for (const char* kind : {"53", "57", "58", "40"})
    if (absl::StartsWith(state, kind)) return true;
  return state == "55P03" || IsOfStandby(state);
}

std::string PgError::words() const {
  const char* const why = state == "53100"     ? "its disk is full"
                          : state == "53200"   ? "it has no memory left"
                          : state == "53300"   ? "it has no connection left"
                          : IsOfStandby(state) ? "it can only be read"
                                               : nullptr;
  return why == nullptr ? message : absl::StrCat(why, " (", message, ")");
}

PgValue PgValue::Number(int64_t number) {
  std::string bytes;
  AppendBigEndian(bytes, static_cast<uint64_t>(number), 8);
  return PgValue(std::move(bytes));
}

PgValue PgValue::Array(uint32_t type, const std::vector<PgValue>& elements) {
  constexpr uint32_t kNull = 0xffffffff;
  std::string bytes;
  AppendBigEndian(bytes, elements.empty() ? 0 : 1, 4);  // Dimensions.
  AppendBigEndian(bytes, 1, 4);                         // There may be nulls.
  AppendBigEndian(bytes, type, 4);
  if (!elements.empty()) {
    AppendBigEndian(bytes, elements.size(), 4);
    AppendBigEndian(bytes, 1, 4);  // Counted from.
  }
  for (const PgValue& element : elements) {
    AppendBigEndian(bytes, element.is_null_ ? kNull : element.bytes_.size(), 4);
    bytes += element.bytes_;
  }
  return PgValue(std::move(bytes));
}

PgValue PgValue::Texts(const std::vector<std::string>& texts) {
  std::vector<PgValue> values;
  values.reserve(texts.size());
  for (const std::string& text : texts) values.push_back(Text(text));
  return Array(kText, values);
}

int64_t PgRows::Number(int row, int column) const {
  uint64_t number = 0;
  for (const char byte : Bytes(row, column))
    number = number << 8 | static_cast<unsigned char>(byte);
  return static_cast<int64_t>(number);
}

absl::StatusOr<std::unique_ptr<PgConnection>> PgConnection::Open(const PgTarget& target,
                                                                 absl::Time deadline) {
  ASSIGN_OR_RETURN(const Settings settings, SettingsOf(target));
  const std::vector<Settings> places = PlacesOf(settings);
  std::string why;
  for (size_t i = 0; i < places.size(); ++i) {
    const absl::Duration left = deadline - SteadyNow();
    const auto others = static_cast<int64_t>(places.size() - i);
    auto connection = OpenPlace(places[i], deadline - left + left / others);
    if (connection.ok() || absl::IsFailedPrecondition(connection.status())) return connection;
    absl::StrAppend(&why, why.empty() ? "" : "; ", connection.status().message());
  }
  return absl::UnavailableError(why);
}

absl::StatusOr<std::unique_ptr<PgConnection>> PgConnection::OpenPlace(
    const std::map<std::string, std::string>& settings, absl::Time deadline) {
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : settings) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  std::unique_ptr<PgConnection> connection(
      new PgConnection(PQconnectStartParams(keywords.data(), values.data(), /*expand_dbname=*/0)));
  PGconn* pg = connection->connection_.get();
  if (pg == nullptr) return absl::UnavailableError("no memory for a connection");
  PQsetNoticeReceiver(pg, OnNotice, connection.get());
  PostgresPollingStatusType next = PGRES_POLLING_WRITING;
  while (PQstatus(pg) != CONNECTION_BAD && next != PGRES_POLLING_OK &&
         next != PGRES_POLLING_FAILED) {
    if (!connection->WaitForSocket(next == PGRES_POLLING_WRITING, deadline))
      return absl::UnavailableError("it does not answer");
    next = PQconnectPoll(pg);
  }
  if (PQstatus(pg) != CONNECTION_OK) {
    const std::string why = WhyNotIn(PQerrorMessage(pg));
    // libpq cannot use what the URL says: no server was asked, nor ever will be.
    if (absl::StartsWith(why, "invalid "))
      return absl::FailedPreconditionError(absl::StrCat("the URL cannot be used: ", why));
    return absl::UnavailableError(why);
  }
  if (PQsetnonblocking(pg, 1) != 0 || PQenterPipelineMode(pg) != 1)
    return absl::UnavailableError(OneLine(PQerrorMessage(pg)));
  return connection;
}

void PgConnection::OnNotice(void* self, const PGresult* notice) {
  const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity != nullptr && std::string_view(severity) == "WARNING")
    static_cast<PgConnection*>(self)->warned_ = true;
}

PgError PgConnection::Broken(std::string_view why) {
  broken_ = true;
  // libpq may have no message for it.
  return {"", why.empty() ? "the connection broke" : std::string(why)};
}

bool PgConnection::WaitForSocket(bool to_write, absl::Time deadline) const {
  pollfd waiting{.fd = PQsocket(connection_.get()),
                 .events = static_cast<short>(to_write ? POLLOUT | POLLIN : POLLIN),
                 .revents = 0};
  while (true) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - SteadyNow());
    if (left <= 0) return false;
    if (poll(&waiting, 1, static_cast<int>(std::min<int64_t>(left, 60'000))) > 0) return true;
  }
}

// True if everything is sent and the next result is there. Otherwise takes one step towards that.
bool PgConnection::Exchange(absl::Time deadline, PgError& error) {
  PGconn* pg = connection_.get();
  const int unsent = PQflush(pg);
  if (unsent == 0 && PQisBusy(pg) == 0) return true;
  const bool in_time = unsent < 0 || WaitForSocket(unsent > 0, deadline);
  if (!in_time)
    error = Broken("it did not answer in time");
  else if (unsent < 0 || PQconsumeInput(pg) == 0)
    error = Broken(OneLine(PQerrorMessage(pg)));
  return false;
}

PgError PgConnection::Send(const std::vector<PgQuery>& queries) {
  PGconn* pg = connection_.get();
  for (const PgQuery& query : queries) {
    std::vector<const char*> values;
    std::vector<int> sizes;
    for (const PgValue& value : query.values) {
      values.push_back(value.data());
      sizes.push_back(value.size());
    }
    const std::vector<int> binary(values.size(), 1);
    if (PQsendQueryParams(pg, query.sql, static_cast<int>(values.size()), nullptr, values.data(),
                          sizes.data(), binary.data(), /*resultFormat=*/1) != 1) {
      return Broken(OneLine(PQerrorMessage(pg)));
    }
  }
  if (PQpipelineSync(pg) != 1) return Broken(OneLine(PQerrorMessage(pg)));
  return {};
}

PgError PgConnection::ErrorOf(const PGresult* result, absl::string_view sql) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const bool is_told = words != nullptr && *words != '\0';
  PgError error = {state == nullptr ? "" : state, is_told ? words : "it failed"};
  // The connection is dropped, so that its owner looks for the primary. (Some servers also say of a
  // function that it is not supported.)
  const bool is_standby =
      IsOfStandby(error.state) && (absl::StartsWith(sql, "BEGIN") || error.state != kNotSupported);
  if (is_standby || state == nullptr || PQstatus(connection_.get()) != CONNECTION_OK)
    broken_ = true;
  return error;
}

PgError PgConnection::Run(const std::vector<PgQuery>& queries, absl::Time deadline,
                          std::vector<PgRows>& rows) {
  PGconn* pg = connection_.get();
  rows.clear();
  warned_ = false;
  if (PgError unsent = Send(queries); !unsent.ok()) return unsent;
  PgError error;
  while (true) {
    // Kept apart from a statement's error, after which the end of the answers is still to come.
    PgError lost;
    while (!Exchange(deadline, lost)) {
      if (!lost.ok()) return lost;
    }
    PGresult* result = PQgetResult(pg);
    // A null result separates the results of two statements.
    if (result == nullptr) {
      if (PQstatus(pg) != CONNECTION_OK) return Broken(OneLine(PQerrorMessage(pg)));
      continue;
    }
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) {
      PQclear(result);
      // Callers read the rows of every statement, so either all of them are there or there was an
      // error.
      if (error.ok() && rows.size() != queries.size())
        return Broken(
            absl::StrCat("it answered ", rows.size(), " of ", queries.size(), " statements"));
      return error;
    }
    if (status == PGRES_FATAL_ERROR && error.ok()) {
      error = ErrorOf(result, queries[rows.size()].sql);
      if (error.broken() || PQstatus(pg) != CONNECTION_OK) {
        PQclear(result);
        return error;
      }
    }
    rows.emplace_back(result);
  }
}

void PgConnection::TakeNotifications(std::vector<std::string>& payloads) {
  while (PGnotify* notify = PQnotifies(connection_.get())) {
    payloads.emplace_back(notify->extra);
    PQfreemem(notify);
  }
}

PgError PgConnection::Wait(int wake, absl::Time deadline, std::vector<std::string>& payloads) {
  payloads.clear();
  while (true) {
    TakeNotifications(payloads);
    const int64_t left = absl::ToInt64Milliseconds(deadline - SteadyNow());
    if (!payloads.empty() || left <= 0) return {};
    pollfd waiting[] = {{.fd = PQsocket(connection_.get()), .events = POLLIN, .revents = 0},
                        {.fd = wake, .events = POLLIN, .revents = 0}};
    if (poll(waiting, 2, static_cast<int>(std::min<int64_t>(left, 60'000))) <= 0) continue;
    if (waiting[0].revents != 0 && PQconsumeInput(connection_.get()) == 0)
      return Broken(OneLine(PQerrorMessage(connection_.get())));
    if (waiting[1].revents != 0) {
      TakeNotifications(payloads);
      return {};
    }
  }
}

absl::Status CheckPgTarget(const PgTarget& target) { return SettingsOf(target).status(); }

std::string ShownPgUrl(const std::string& url) {
  auto settings = ParseUrl(url);
  if (!settings.ok()) return "postgresql:";
  const auto part = [&](const char* name) {
    auto found = settings->find(name);
    return found == settings->end() ? std::string() : found->second;
  };
  return absl::StrCat("postgresql://", part("host"),
                      part("port").empty() ? "" : absl::StrCat(":", part("port")), "/",
                      part("dbname"));
}

}  // namespace finetune
