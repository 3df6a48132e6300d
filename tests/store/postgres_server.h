#pragma once

#include <grp.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/clock.h"
#include "server/base/uuid.h"
#include "server/store/pg_connection.h"

namespace finetune {

// A program of a test's own that listens on a socket in a folder, which goes with it. As root it
// runs as the user that Debian's package makes: PostgreSQL's programs refuse root.
class SocketProgram {
 public:
  const std::string& folder() const { return folder_; }
  bool running() const { return pid_ > 0; }
  std::string Url(const std::string& database, const std::string& user = "admin",
                  const std::string& folder = "") const {
    std::string host = folder.empty() ? folder_ : folder;
    for (size_t i = 0; (i = host.find('/', i)) != std::string::npos;) host.replace(i, 1, "%2F");
    return absl::StrCat("postgresql://", user, "@", host, "/", database);
  }
  // Runs one statement; its error.
  std::string Execute(const std::string& database, const std::string& sql) const {
    auto connection = PgConnection::Open({.url = Url(database)}, SteadyNow() + absl::Seconds(10));
    if (!connection.ok()) return connection.status().ToString();
    std::vector<PgRows> rows;
    return (*connection)->Run({{sql.c_str()}}, SteadyNow() + absl::Seconds(10), rows).message;
  }
  void Stop(int number = SIGINT) {
    if (pid_ <= 0) return;
    kill(pid_, number);
    Wait(pid_);
    pid_ = 0;
  }

 protected:
  SocketProgram() : folder_(absl::StrCat("/tmp/pg-", MakeUuid().substr(0, 8))) {
    for (const auto& version :
         std::filesystem::directory_iterator("/usr/lib/postgresql", ignored_)) {
      bin_ = version.path().string() + "/bin/";
    }
    std::filesystem::create_directories(folder_);
    if (const passwd* user = getuid() == 0 ? getpwnam("postgres") : nullptr) {
      uid_ = user->pw_uid;
      gid_ = user->pw_gid;
      if (chown(folder_.c_str(), uid_, gid_) != 0) bin_.clear();
    }
  }
  ~SocketProgram() {
    Stop(SIGQUIT);
    std::filesystem::remove_all(folder_, ignored_);
  }
  // Where PostgreSQL's programs are; empty if they are not here.
  const std::string& bin() const { return bin_; }

  // Starts it; it runs once it answers.
  void Start(const std::vector<std::string>& arguments) {
    pid_ = Spawn(arguments);
    for (int i = 0; i < 1'000; ++i) {
      if (Execute("postgres", "SELECT 1").empty()) return;
      absl::SleepFor(absl::Milliseconds(20));
    }
    Stop(SIGQUIT);
  }
  int RunToEnd(const std::vector<std::string>& arguments) const { return Wait(Spawn(arguments)); }

 private:
  pid_t Spawn(const std::vector<std::string>& arguments) const {
    const pid_t child = fork();
    if (child != 0) return child;
    if (uid_ != 0 && (setgroups(0, nullptr) != 0 || setgid(gid_) != 0 || setuid(uid_) != 0))
      _exit(126);
    if (freopen("/dev/null", "w", stdout) == nullptr ||
        freopen("/dev/null", "w", stderr) == nullptr)
      _exit(126);
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  static int Wait(pid_t child) {
    int status = 0;
    return waitpid(child, &status, 0) == child ? status : -1;
  }

  std::error_code ignored_;
  std::string bin_;
  const std::string folder_;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  pid_t pid_ = 0;
};

// A PostgreSQL. To make one takes longer than most tests, so one test after another has it.
class PostgresServer : public SocketProgram {
 public:
  // This process's; it runs unless there is no PostgreSQL here.
  static PostgresServer& Get() {
    static PostgresServer server;
    return server;
  }
  // Nothing is in it afterwards but an empty database, `record`. An error in words.
  std::string Clear() {
    if (!running()) Start();
    for (const auto& entry : std::filesystem::directory_iterator(folder())) {
      const std::string name = entry.path().filename();
      if (name != "data" && !name.starts_with(".s.")) std::filesystem::remove_all(entry);
    }
    auto connection = PgConnection::Open({.url = Url("postgres")}, SteadyNow() + absl::Seconds(10));
    if (!connection.ok()) return connection.status().ToString();
    std::vector<PgRows> rows;
    const PgError error =
        (*connection)
            ->Run({{"SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM "
                    "pg_database WHERE datname NOT LIKE 'template_' AND datname <> "
                    "'postgres' UNION ALL SELECT format('DROP ROLE %I', rolname) FROM "
                    "pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> 'admin'"}},
                  SteadyNow() + absl::Seconds(10), rows);
    if (!error.ok()) return error.message;
    std::vector<std::string> statements = {"ALTER ROLE admin RESET ALL", "CREATE DATABASE record"};
    for (int i = rows[0].size(); i-- > 0;)
      statements.insert(statements.begin(), std::string(rows[0].Bytes(i, 0)));
    for (const std::string& sql : statements) {
      std::string failed = Execute("postgres", sql);
      if (!failed.empty()) return absl::StrCat(sql, ": ", failed);
    }
    return "";
  }
  bool is_here() const { return !bin().empty(); }
  void Start() {
    SocketProgram::Start({bin() + "postgres", "-D", data(), "-k", folder(), "-h", "", "-F", "-c",
                          "max_connections=30", "-c", "shared_buffers=16MB", "-c",
                          "log_min_messages=fatal"});
  }

 private:
  PostgresServer() {
    if (bin().empty()) return;
    if (RunToEnd({bin() + "initdb", "-D", data(), "-U", "admin", "-A", "trust", "-N",
                  "--locale=C.UTF-8", "-E", "UTF8"}) != 0) {
      return;
    }
    Start();
  }
  std::string data() const { return folder() + "/data"; }
};

// A test of an empty database, `record`. Skipped where there is no PostgreSQL.
class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!server_.is_here()) GTEST_SKIP() << "there is no PostgreSQL here";
    ASSERT_EQ(server_.Clear(), "");
  }

  PostgresServer& server_ = PostgresServer::Get();
};

// A standby that follows a server.
class PostgresStandby : public SocketProgram {
 public:
  explicit PostgresStandby(const PostgresServer& primary) {
    const std::string data = folder() + "/data";
    if (RunToEnd({bin() + "pg_basebackup", "-h", primary.folder(), "-U", "admin", "-D", data, "-R",
                  "-c", "fast"}) != 0) {
      return;
    }
    Start({bin() + "postgres", "-D", data, "-k", folder(), "-h", "", "-F", "-c",
           "max_connections=30", "-c", "shared_buffers=16MB", "-c", "log_min_messages=fatal"});
  }
};

// PgBouncer before a server. It does not run where it is not installed.
class Pooler : public SocketProgram {
 public:
  Pooler(const PostgresServer& server, const std::string& mode) {
    constexpr char kProgram[] = "/usr/sbin/pgbouncer";
    if (!std::filesystem::exists(kProgram)) return;
    std::ofstream(folder() + "/users") << "\"admin\" \"\"\n";
    std::ofstream(folder() + "/pgbouncer.ini")
        << "[databases]\n* = host=" << server.folder() << "\n[pgbouncer]\npool_mode = " << mode
        << "\nlisten_addr =\nlisten_port = 5432\nunix_socket_dir = " << folder()
        << "\nauth_type = trust\nauth_file = " << folder() << "/users\n";
    Start({kProgram, folder() + "/pgbouncer.ini"});
  }
};

}  // namespace finetune
