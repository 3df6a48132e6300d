#pragma once

#include <grp.h>
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
#include "server/base/uuid.h"
#include "server/store/pg_connection.h"

namespace finetune {

// A PostgreSQL of a test's own, in a folder, behind a socket in that folder and no port. As root it
// runs as the user that Debian's package makes: initdb refuses root.
class PostgresServer {
 public:
  PostgresServer() : folder_(absl::StrCat("/tmp/pg-", MakeUuid().substr(0, 8))) {
    for (const auto& version :
         std::filesystem::directory_iterator("/usr/lib/postgresql", ignored_)) {
      bin_ = version.path().string() + "/bin/";
    }
    if (bin_.empty()) return;
    std::filesystem::create_directories(folder_);
    if (const passwd* user = getuid() == 0 ? getpwnam("postgres") : nullptr) {
      uid_ = user->pw_uid;
      gid_ = user->pw_gid;
      if (chown(folder_.c_str(), uid_, gid_) != 0) return;
    }
    if (Wait(Spawn({bin_ + "initdb", "-D", data(), "-U", "admin", "-A", "trust", "-N",
                    "--locale=C.UTF-8", "-E", "UTF8"})) != 0) {
      return;
    }
    Start();
  }
  ~PostgresServer() {
    Stop(SIGQUIT);
    std::filesystem::remove_all(folder_, ignored_);
  }

  bool running() const { return pid_ > 0; }
  const std::string& folder() const { return folder_; }
  std::string Url(const std::string& database, const std::string& user = "admin",
                  const std::string& folder = "") const {
    std::string host = folder.empty() ? folder_ : folder;
    for (size_t i = 0; (i = host.find('/', i)) != std::string::npos;) host.replace(i, 1, "%2F");
    return absl::StrCat("postgresql://", user, "@", host, "/", database);
  }

  // Runs one statement; its error.
  std::string Execute(const std::string& database, const std::string& sql) {
    auto connection = PgConnection::Open({.url = Url(database)}, absl::Now() + absl::Seconds(10));
    if (!connection.ok()) return connection.status().ToString();
    std::vector<PgRows> rows;
    return (*connection)->Run({{sql.c_str()}}, absl::Now() + absl::Seconds(10), rows).message;
  }

  void Start() {
    pid_ =
        Spawn({bin_ + "postgres", "-D", data(), "-k", folder_, "-h", "", "-F", "-c",
               "max_connections=30", "-c", "shared_buffers=16MB", "-c", "log_min_messages=fatal"});
    for (int i = 0; i < 1'000; ++i) {
      if (Execute("postgres", "SELECT 1").empty()) return;
      absl::SleepFor(absl::Milliseconds(20));
    }
    Stop(SIGQUIT);
  }
  void Stop(int number = SIGINT) {
    if (pid_ <= 0) return;
    kill(pid_, number);
    Wait(pid_);
    pid_ = 0;
  }

 private:
  std::string data() const { return folder_ + "/data"; }
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

}  // namespace finetune
