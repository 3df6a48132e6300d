#include "server/start_check.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/access/policy_file.h"
#include "server/access/tls_files.h"
#include "server/base/read_file.h"
#include "server/base/reread_files.h"
#include "server/http/address_policy.h"
#include "server/http/curl_http_client.h"
#include "server/process_limits.h"
#include "server/segmind/api_key.h"
#include "server/startup_warnings.h"
#include "server/web/listeners.h"
#include "server/web/webhook_tokens.h"

namespace finetune {
namespace {

// Collects what each look finds.
class Findings {
 public:
  explicit Findings(StartCheck& check) : check_(check) {}

  void Note(absl::string_view flag, const absl::Status& status) {
    if (status.ok()) return;
    check_.errors.push_back(flag.empty() ? std::string(status.message())
                                         : absl::StrCat("--", flag, ": ", status.message()));
  }
  // One that a gateway with these flags already has is none to complain of.
  void NoteAddress(absl::string_view flag, const Address& address) {
    const auto listeners = Listeners::Open(address.host, address.port);
    if (!absl::StrContains(listeners.status().message(), std::strerror(EADDRINUSE)))
      Note(flag, listeners.status());
  }

 private:
  StartCheck& check_;
};

absl::Status Refuse(const std::string& path, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat("the record '", path, "' ", why));
}

// A record is a file of SQLite's that may be written, or can be made.
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
  // The nearest folder that is there: those below it are made.
  std::filesystem::path folder = std::filesystem::absolute(path, error).parent_path();
  while (!std::filesystem::exists(folder, error) && folder.has_relative_path())
    folder = folder.parent_path();
  if (access(folder.c_str(), W_OK | X_OK) == 0 && std::filesystem::is_directory(folder, error))
    return absl::OkStatus();
  return Refuse(path, absl::StrCat("cannot be made in '", folder.string(), "'"));
}

}  // namespace

StartCheck CheckStart(const Config& config) {
  StartCheck check{.errors = {}, .warnings = config.warnings};
  Findings findings(check);
  const std::unique_ptr<Clock> clock = MakeRealClock();
  Metrics metrics;
  FileRereader rereader(*clock, metrics);

  findings.Note("", CheckProcessLimits());
  std::optional<Validity> certificate;
  findings.Note("", CheckTlsFlags(config.tls));
  if (config.tls.enabled()) {
    const auto material =
        ReadTlsMaterial(config.tls, [](const std::string& path) -> absl::StatusOr<std::string> {
          auto read = ReadFile(path);
          if (!read.ok()) return read.status();
          return std::move(read->text);
        });
    findings.Note("", material.status());
    if (material.ok()) certificate = material->validity;
  }
  findings.Note("api_key_file", MakeApiKeySource(config.api_key_file, rereader).status());
  findings.Note("webhook_token_file",
                WebhookTokens::Open(config.webhook_token_file, rereader).status());
  findings.Note("upstream_ca_file",
                CurlHttpClient::Create({.ca_file = config.upstream_ca_file}).status());
  findings.Note("transfer_hosts",
                AddressPolicy::Create(config.transfer_hosts, config.upstream_url).status());

  std::shared_ptr<const AccessPolicy> policy;
  if (!config.policy_file.empty()) {
    const auto nobody = [](const KeyLocation&, KeysFetched done) {
      std::move(done)(absl::UnavailableError("nothing is fetched for a check"));
    };
    auto file = PolicyFile::Open(config.policy_file, nobody, rereader, *clock, metrics);
    findings.Note("policy_file", file.status());
    if (file.ok()) policy = (*file)->current();
  }
  if (policy != nullptr)
    check.warnings.insert(check.warnings.end(), policy->warnings().begin(),
                          policy->warnings().end());
  for (std::string& warning : FindStartupWarnings(config, certificate ? &*certificate : nullptr,
                                                  policy.get(), clock->Now()))
    check.warnings.push_back(std::move(warning));

  findings.NoteAddress("listen", config.listen);
  findings.NoteAddress("webhook_listen", config.webhook_listen);
  findings.NoteAddress("admin_listen", config.admin_listen);
  findings.Note("store", CheckRecord(config.sqlite_path));
  return check;
}

}  // namespace finetune
