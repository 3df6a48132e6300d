#include "server/base/reread_files.h"

#include <utility>
#include <vector>

#include "server/base/log.h"
#include "server/base/read_file.h"

namespace finetune {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);

prometheus::Counter& Rereads(Metrics& metrics, const std::string& subject,
                             const std::string& outcome) {
  return metrics.Counter("finetune_gateway_file_rereads_total",
                         "Changes of files that are reread, by whether they were taken.",
                         {{"files", subject}, {"outcome", outcome}});
}

}  // namespace

RereadFiles::RereadFiles(std::string subject, Take take, Metrics& metrics)
    : subject_(std::move(subject)),
      take_(std::move(take)),
      taken_(Rereads(metrics, subject_, "taken")),
      refused_(Rereads(metrics, subject_, "refused")),
      refused_now_(metrics.Gauge("finetune_gateway_files_refused",
                                 "1 while these files are bad or cannot be read, and what was read "
                                 "before is in force.",
                                 {{"files", subject_}})) {}

absl::Status RereadFiles::Open() {
  MutexLock lock(looking_);
  return TakeLocked();
}

void RereadFiles::Look() {
  absl::Status outcome;
  {
    MutexLock lock(looking_);
    if (stopped_) return;
    const bool changed = ChangedLocked();
    if (!changed && !absl::IsUnavailable(outcome_)) return;
    const absl::Status before = outcome_;
    outcome = TakeLocked();
    if (!CountLocked(changed, before)) return;
  }
  Tell(outcome);
}

void RereadFiles::LookAnew() {
  absl::Status outcome;
  {
    MutexLock lock(looking_);
    if (stopped_) return;
    outcome = TakeLocked();
    CountLocked(/*changed=*/true, outcome);
  }
  Tell(outcome);
}

void RereadFiles::Stop() {
  MutexLock lock(looking_);
  stopped_ = true;
}

absl::StatusOr<std::string> RereadFiles::ReadOne(const std::string& path) {
  if (const auto pipe = pipes_.find(path); pipe != pipes_.end()) return pipe->second.Reveal();
  auto read = ReadFile(path);
  if (!read.ok()) return read.status();
  if (!read->lasting) pipes_.emplace(path, Secret(read->text));
  return std::move(read->text);
}

// The files are small and in the page cache, and comparing their texts misses no change, whatever
// their times say.
bool RereadFiles::ChangedLocked() {
  for (const auto& [path, judged] : judged_) {
    auto text = ReadOne(path);
    if (text.ok() != judged.has_value()) return true;
    if (text.ok() && !(Secret(*std::move(text)) == *judged)) return true;
  }
  return false;
}

absl::Status RereadFiles::TakeLocked() {
  judged_.clear();
  outcome_ = take_([this](const std::string& path) -> absl::StatusOr<std::string> {
    looking_.AssertHeld();
    auto text = ReadOne(path);
    judged_[path] = text.ok() ? std::optional(Secret(*text)) : std::nullopt;
    return text;
  });
  return outcome_;
}

bool RereadFiles::CountLocked(bool changed, const absl::Status& before) {
  refused_now_.Set(outcome_.ok() ? 0 : 1);
  if (!changed && outcome_ == before) return false;
  (outcome_.ok() ? taken_ : refused_).Increment();
  return true;
}

void RereadFiles::Tell(const absl::Status& outcome) const {
  if (outcome.ok())
    Log(LogLevel::kInfo, "files reread", {{"audit", true}, {"files", subject_}});
  else
    Log(LogLevel::kError, "files refused, what was read before stays in force",
        {{"audit", true}, {"files", subject_}, {"error", std::string(outcome.message())}});
}

FileRereader::FileRereader(Clock& clock, Metrics& metrics)
    : clock_(clock), metrics_(metrics), worker_("files") {
  Schedule();
}

FileRereader::~FileRereader() { Stop(); }

std::shared_ptr<RereadFiles> FileRereader::Add(std::string subject, RereadFiles::Take take) {
  auto made = std::make_shared<RereadFiles>(std::move(subject), std::move(take), metrics_);
  MutexLock lock(mu_);
  all_.push_back(made);
  return made;
}

void FileRereader::LookNow() {
  std::vector<std::shared_ptr<RereadFiles>> all;
  {
    MutexLock lock(mu_);
    all_.remove_if([](const auto& one) { return one.expired(); });
    for (const auto& one : all_)
      if (auto files = one.lock()) all.push_back(std::move(files));
  }
  for (const auto& files : all) files->Look();
}

void FileRereader::Schedule() {
  MutexLock lock(mu_);
  if (stopping_) return;
  timer_ = clock_.RunAfter(kLookInterval, [this] {
    worker_.Post([this] {
      LookNow();
      Schedule();
    });
  });
}

void FileRereader::Stop() {
  Clock::TimerId timer = Clock::kNoTimer;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    timer = timer_;
  }
  clock_.Cancel(timer);
  worker_.Stop();
}

}  // namespace finetune
