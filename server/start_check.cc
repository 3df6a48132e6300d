#include "server/start_check.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/access/authorities_file.h"
#include "server/access/policy_file.h"
#include "server/access/tls_files.h"
#include "server/base/read_file.h"
#include "server/base/reread_files.h"
#include "server/http/address_policy.h"
#include "server/process_limits.h"
#include "server/segmind/api_key.h"
#include "server/startup_warnings.h"
#include "server/store/pg_connection.h"
#include "server/web/listeners.h"
#include "server/web/webhook_tokens.h"

namespace finetune {
namespace {

absl::Status Refuse(const std::string& path, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat("the record '", path, "' ", why));
}

// Checks that the record's file can be written, or made.
absl::Status CheckRecord(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    if (!std::filesystem::is_regular_file(path, error)) return Refuse(path, "is no file");
    if (access(path.c_str(), R_OK | W_OK) != 0) return Refuse(path, std::strerror(errno));
    std::ifstream file(path, std::ios::binary);
    std::string head(16, '\0');
    file.read(head.data(), static_cast<std::streamsize>(head.size()));
    const bool is_sqlite = head == absl::string_view("SQLite format 3\0", 16);
    return file.gcount() == 0 || is_sqlite ? absl::OkStatus() : Refuse(path, "is none of SQLite's");
  }
  // The nearest folder that exists; those below it are created.
  std::filesystem::path folder = std::filesystem::absolute(path, error).parent_path();
  while (!std::filesystem::exists(folder, error) && folder.has_relative_path())
    folder = folder.parent_path();
  if (access(folder.c_str(), W_OK | X_OK) == 0 && std::filesystem::is_directory(folder, error))
    return absl::OkStatus();
  return Refuse(path, absl::StrCat("cannot be made in '", folder.string(), "'"));
}

// One check of one configuration.
class Checker {
 public:
  explicit Checker(const Config& config) : config_(config), check_{{}, config.warnings} {}

  StartCheck Run() {
    Note("", CheckProcessLimits());
    CheckTls();
    CheckSecrets();
    CheckPolicy();
    CheckHosts();
    Note("store", config_.postgres_url.empty()
                      ? CheckRecord(config_.sqlite_path)
                      : CheckPgTarget({.url = config_.postgres_url,
                                       .password_file = config_.store_password_file,
                                       .ca_file = config_.store_ca_file}));
    for (std::string& warning : FindStartupWarnings(
             config_, certificate_ ? &*certificate_ : nullptr, policy_.get(), clock_->Now()))
      check_.warnings.push_back(std::move(warning));
    return std::move(check_);
  }

 private:
  void Note(absl::string_view flag, const absl::Status& status) {
    if (status.ok()) return;
    check_.errors.push_back(flag.empty() ? std::string(status.message())
                                         : absl::StrCat("--", flag, ": ", status.message()));
  }

  void CheckTls() {
    Note("", CheckTlsFlags(config_.tls));
    if (!config_.tls.enabled()) return;
    const auto material =
        ReadTlsMaterial(config_.tls, [](const std::string& path) -> absl::StatusOr<std::string> {
          auto read = ReadFile(path);
          if (!read.ok()) return read.status();
          return std::move(read->text);
        });
    Note("", material.status());
    if (material.ok()) certificate_ = material->validity;
  }

  void CheckSecrets() {
    Note("api_key_file", MakeApiKeySource(config_.api_key_file, rereader_).status());
    Note("webhook_token_file", WebhookTokens::Open(config_.webhook_token_file, rereader_).status());
  }

  void CheckPolicy() {
    if (config_.policy_file.empty()) return;
    const auto nobody = [](const KeyLocation&) {
      return [](KeysFetched done) {
        std::move(done)(absl::UnavailableError("nothing is fetched for a check"));
      };
    };
    auto file = PolicyFile::Open(config_.policy_file, nobody, rereader_, *clock_, metrics_);
    Note("policy_file", file.status());
    if (!file.ok()) return;
    policy_ = (*file)->current();
    check_.warnings.insert(check_.warnings.end(), policy_->warnings().begin(),
                           policy_->warnings().end());
  }

  void CheckHosts() {
    if (!config_.upstream_ca_file.empty())
      Note("upstream_ca_file",
           AuthoritiesFile::Open("upstream_ca", config_.upstream_ca_file, rereader_).status());
    Note("transfer_hosts",
         AddressPolicy::Create(config_.transfer_hosts, config_.upstream_url).status());
    CheckAddress("listen", config_.listen);
    CheckAddress("webhook_listen", config_.webhook_listen);
    CheckAddress("admin_listen", config_.admin_listen);
  }

  // An address that a gateway with these flags already has is no reason to complain.
  void CheckAddress(absl::string_view flag, const Address& address) {
    const auto listeners = Listeners::Open(address.host, address.port);
    if (!absl::StrContains(listeners.status().message(), std::strerror(EADDRINUSE)))
      Note(flag, listeners.status());
  }

  const Config& config_;
  const std::unique_ptr<Clock> clock_ = MakeRealClock();
  Metrics metrics_;
  FileRereader rereader_{*clock_, metrics_};
  std::optional<Validity> certificate_;
  std::shared_ptr<const AccessPolicy> policy_;
  StartCheck check_;
};

}  // namespace

StartCheck CheckStart(const Config& config) { return Checker(config).Run(); }

}  // namespace finetune
