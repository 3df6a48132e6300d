#include "server/access/policy_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);
constexpr char kReloads[] = "finetune_gateway_policy_reloads_total";
constexpr char kReloadsHelp[] = "Changes of the policy's files, by whether they were taken.";

std::optional<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return std::nullopt;
  return text.str();
}

}  // namespace

PolicyFile::PolicyFile(const std::string& path, Clock& clock, Metrics& metrics)
    : path_(path),
      clock_(clock),
      applied_(metrics.Counter(kReloads, kReloadsHelp, {{"outcome", "applied"}})),
      refused_(metrics.Counter(kReloads, kReloadsHelp, {{"outcome", "refused"}})),
      refused_now_(metrics.Gauge("finetune_gateway_policy_refused",
                                 "1 while the policy's files are bad and an older policy is in "
                                 "force.")),
      worker_("policy") {}

absl::StatusOr<std::unique_ptr<PolicyFile>> PolicyFile::Open(const std::string& path, Clock& clock,
                                                             Metrics& metrics) {
  std::unique_ptr<PolicyFile> made(new PolicyFile(path, clock, metrics));
  auto policy = made->Read();
  if (!policy.ok()) return policy.status();
  {
    MutexLock lock(made->mu_);
    made->current_ = *std::move(policy);
  }
  made->Schedule();
  return made;
}

PolicyFile::~PolicyFile() {
  Clock::TimerId timer = Clock::kNoTimer;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    timer = timer_;
  }
  clock_.Cancel(timer);
  worker_.Stop();
}

std::shared_ptr<const AccessPolicy> PolicyFile::current() const {
  MutexLock lock(mu_);
  return current_;
}

void PolicyFile::Schedule() {
  MutexLock lock(mu_);
  if (stopping_) return;
  timer_ = clock_.RunAfter(kLookInterval, [this] { worker_.Post([this] { Reread(); }); });
}

absl::StatusOr<std::shared_ptr<const AccessPolicy>> PolicyFile::Read() {
  texts_.clear();
  const auto read = [this](const std::string& path) -> absl::StatusOr<std::string> {
    std::optional<std::string>& text = texts_[path];
    text = ReadText(path);
    if (!text) return absl::InvalidArgumentError(absl::StrCat("cannot read '", path, "'"));
    return *text;
  };
  ASSIGN_OR_RETURN(const std::string text, read(path_));
  const std::string folder = std::filesystem::path(path_).parent_path();
  auto policy = AccessPolicy::Parse(text, folder.empty() ? "." : folder, read, current().get());
  if (policy.ok()) return policy;
  return absl::InvalidArgumentError(absl::StrCat("'", path_, "': ", policy.status().message()));
}

// The files are small and in the page cache: comparing their texts misses nothing, whatever the
// times on them say.
bool PolicyFile::Changed() const {
  for (const auto& [path, text] : texts_)
    if (ReadText(path) != text) return true;
  return false;
}

void PolicyFile::Reread() {
  if (Changed()) {
    auto policy = Read();
    refused_now_.Set(policy.ok() ? 0 : 1);
    if (policy.ok()) {
      Log(LogLevel::kInfo, "policy changed",
          {{"audit", true}, {"file", path_}, {"callers", (*policy)->size()}});
      applied_.Increment();
      MutexLock lock(mu_);
      current_ = *std::move(policy);
    } else {
      Log(LogLevel::kError, "policy refused, the one before stays",
          {{"audit", true}, {"error", std::string(policy.status().message())}});
      refused_.Increment();
    }
  }
  Schedule();
}

}  // namespace finetune
