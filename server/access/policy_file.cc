#include "server/access/policy_file.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

constexpr char kFetches[] = "finetune_gateway_issuer_key_fetches_total";
constexpr char kFetchesHelp[] = "Fetches of issuers' keys from a jwks_url, by outcome.";

}  // namespace

PolicyFile::PolicyFile(const std::string& path, MakeFetchKeys make_fetch, FileRereader& rereader,
                       Clock& clock, Metrics& metrics)
    : path_(path),
      make_fetch_(std::move(make_fetch)),
      clock_(clock),
      fetch_metrics_{
          metrics.Counter(kFetches, kFetchesHelp, {{"outcome", "fetched"}}),
          metrics.Counter(kFetches, kFetchesHelp, {{"outcome", "failed"}}),
          metrics.Gauge("finetune_gateway_issuer_keys_failing",
                        "jwks_urls whose latest fetch failed: older keys, or none, are in use.")},
      files_(rereader.Add("policy", [this](RereadFiles::Read read) { return Take(read); })),
      worker_("issuer-keys") {}

absl::StatusOr<std::unique_ptr<PolicyFile>> PolicyFile::Open(const std::string& path,
                                                             MakeFetchKeys make_fetch,
                                                             FileRereader& rereader, Clock& clock,
                                                             Metrics& metrics) {
  std::unique_ptr<PolicyFile> made(
      new PolicyFile(path, std::move(make_fetch), rereader, clock, metrics));
  RETURN_IF_ERROR(made->files_->Open());
  return made;
}

PolicyFile::~PolicyFile() { Stop(); }

void PolicyFile::Stop() {
  files_->Stop();
  worker_.Stop();
  Remotes remotes;
  {
    MutexLock lock(mu_);
    remotes.swap(remotes_);
  }
  for (const auto& [location, fetched] : remotes) fetched.keys->Stop();
}

std::shared_ptr<const AccessPolicy> PolicyFile::current() const {
  MutexLock lock(mu_);
  return current_;
}

bool PolicyFile::HasAllKeys() const {
  MutexLock lock(mu_);
  return std::all_of(remotes_.begin(), remotes_.end(),
                     [](const auto& remote) { return remote.second.text.has_value(); });
}

void PolicyFile::OnChangeDo(std::function<void()> action) {
  MutexLock lock(mu_);
  on_change_ = std::move(action);
}

std::shared_ptr<RemoteKeys> PolicyFile::StartFetching(const KeyLocation& location) {
  return RemoteKeys::Start(
      location, make_fetch_(location), clock_, fetch_metrics_,
      [this](std::function<void()> task) { worker_.Post(std::move(task)); },
      [this] { files_->LookAnew(); });
}

absl::Status PolicyFile::Take(RereadFiles::Read read) {
  Remotes before;
  {
    MutexLock lock(mu_);
    before = remotes_;
  }
  Remotes wanted;
  const auto remote = [&](const KeyLocation& location) {
    Fetched& fetched = wanted[location];
    if (fetched.keys == nullptr) {
      const auto known = before.find(location);
      fetched.keys = known != before.end() ? known->second.keys : StartFetching(location);
      fetched.text = fetched.keys->text();
    }
    return fetched.keys;
  };
  ASSIGN_OR_RETURN(const std::string text, read(path_));
  const std::string folder = std::filesystem::path(path_).parent_path();
  auto policy =
      AccessPolicy::Parse(text, folder.empty() ? "." : folder, {read, remote}, current().get());
  // Locations that neither the policy in force nor this one needs are no longer fetched.
  const Remotes& kept = policy.ok() ? wanted : before;
  for (const Remotes* both : {&before, &wanted})
    for (const auto& [location, fetched] : *both)
      if (!kept.contains(location)) fetched.keys->Stop();
  if (!policy.ok())
    return absl::InvalidArgumentError(absl::StrCat("'", path_, "': ", policy.status().message()));
  Apply(*std::move(policy), std::move(wanted));
  return absl::OkStatus();
}

void PolicyFile::Apply(std::shared_ptr<const AccessPolicy> policy, Remotes remotes) {
  const size_t callers = policy->size();
  const std::vector<std::string> warnings = policy->warnings();
  std::function<void()> on_change;
  bool first = false;
  {
    MutexLock lock(mu_);
    first = current_ == nullptr;
    current_ = std::move(policy);
    remotes_ = std::move(remotes);
    on_change = on_change_;
  }
  Log(LogLevel::kInfo, first ? "policy in force" : "policy changed",
      {{"audit", true}, {"file", path_}, {"callers", callers}});
  for (const std::string& warning : warnings) Log(LogLevel::kWarning, warning);
  if (on_change) on_change();
}

}  // namespace finetune
