#include "server/access/policy_file.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/base/log.h"
#include "server/base/read_file.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);
constexpr char kReloads[] = "finetune_gateway_policy_reloads_total";
constexpr char kFetches[] = "finetune_gateway_issuer_key_fetches_total";
constexpr char kFetchesHelp[] = "Fetches of issuers' keys from a jwks_url, by outcome.";
constexpr char kReloadsHelp[] = "Changes of the policy's files, by whether they were taken.";

}  // namespace

PolicyFile::PolicyFile(const std::string& path, FetchKeys fetch, Clock& clock, Metrics& metrics)
    : path_(path),
      fetch_(std::move(fetch)),
      clock_(clock),
      applied_(metrics.Counter(kReloads, kReloadsHelp, {{"outcome", "applied"}})),
      refused_(metrics.Counter(kReloads, kReloadsHelp, {{"outcome", "refused"}})),
      refused_now_(metrics.Gauge("finetune_gateway_policy_refused",
                                 "1 while the policy's files are bad and an older policy is in "
                                 "force.")),
      fetch_metrics_{
          metrics.Counter(kFetches, kFetchesHelp, {{"outcome", "fetched"}}),
          metrics.Counter(kFetches, kFetchesHelp, {{"outcome", "failed"}}),
          metrics.Gauge("finetune_gateway_issuer_keys_failing",
                        "jwks_urls whose latest fetch failed: older keys, or none, are in use.")},
      worker_("policy") {}

absl::StatusOr<std::unique_ptr<PolicyFile>> PolicyFile::Open(const std::string& path,
                                                             FetchKeys fetch, Clock& clock,
                                                             Metrics& metrics) {
  std::unique_ptr<PolicyFile> made(new PolicyFile(path, std::move(fetch), clock, metrics));
  // On the worker, as all that follows: keys may come at any time from now on.
  absl::Status first;
  absl::Notification read;
  made->worker_.Post([&] {
    auto policy = made->Read();
    first = policy.status();
    if (policy.ok()) {
      MutexLock lock(made->mu_);
      made->current_ = *std::move(policy);
    }
    read.Notify();
  });
  read.WaitForNotification();
  if (!first.ok()) return first;
  made->Schedule();
  return made;
}

PolicyFile::~PolicyFile() { Stop(); }

void PolicyFile::Stop() {
  Clock::TimerId timer = Clock::kNoTimer;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    timer = timer_;
  }
  clock_.Cancel(timer);
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

void PolicyFile::Schedule() {
  MutexLock lock(mu_);
  if (stopping_) return;
  timer_ = clock_.RunAfter(kLookInterval, [this] {
    worker_.Post([this] {
      RereadIfChanged();
      Schedule();
    });
  });
}

std::shared_ptr<RemoteKeys> PolicyFile::StartFetching(const KeyLocation& location) {
  return RemoteKeys::Start(
      location, fetch_, clock_, fetch_metrics_,
      [this](std::function<void()> task) { worker_.Post(std::move(task)); },
      [this] { RereadIfChanged(); });
}

absl::StatusOr<std::shared_ptr<const AccessPolicy>> PolicyFile::Read() {
  texts_.clear();
  const auto read = [this](const std::string& path) -> absl::StatusOr<std::string> {
    auto text = ReadFile(path);
    texts_[path] = text.ok() ? std::optional(*text) : std::nullopt;
    return text;
  };
  Remotes before;
  {
    MutexLock lock(mu_);
    for (auto& [location, fetched] : remotes_) fetched.text = fetched.keys->text();
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
  // What neither the policy in force nor this one needs is not fetched any more.
  const Remotes& kept = policy.ok() ? wanted : before;
  for (const Remotes* both : {&before, &wanted})
    for (const auto& [location, fetched] : *both)
      if (!kept.contains(location)) fetched.keys->Stop();
  if (!policy.ok())
    return absl::InvalidArgumentError(absl::StrCat("'", path_, "': ", policy.status().message()));
  MutexLock lock(mu_);
  remotes_ = std::move(wanted);
  return policy;
}

// The files are small and in the page cache: comparing their texts misses nothing, whatever the
// times on them say.
bool PolicyFile::Changed() const {
  for (const auto& [path, text] : texts_)
    if (auto now = ReadFile(path); now.ok() != text.has_value() || (now.ok() && *now != *text))
      return true;
  MutexLock lock(mu_);
  return std::any_of(remotes_.begin(), remotes_.end(), [](const auto& remote) {
    return remote.second.keys->text() != remote.second.text;
  });
}

void PolicyFile::RereadIfChanged() {
  if (!Changed()) return;
  auto policy = Read();
  refused_now_.Set(policy.ok() ? 0 : 1);
  if (policy.ok()) return Apply(*std::move(policy));
  Log(LogLevel::kError, "policy refused, the one before stays",
      {{"audit", true}, {"error", std::string(policy.status().message())}});
  refused_.Increment();
}

void PolicyFile::Apply(std::shared_ptr<const AccessPolicy> policy) {
  Log(LogLevel::kInfo, "policy changed",
      {{"audit", true}, {"file", path_}, {"callers", policy->size()}});
  applied_.Increment();
  std::function<void()> on_change;
  {
    MutexLock lock(mu_);
    current_ = std::move(policy);
    on_change = on_change_;
  }
  if (on_change) on_change();
}

}  // namespace finetune
