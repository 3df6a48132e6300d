#include "server/jobs/tracking/unknown_words.h"

#include <algorithm>

namespace finetune {
namespace {

// Segmind may come up with ever new words.
constexpr size_t kMostWords = 1000;

}  // namespace

bool UnknownWords::Note(const std::string& upstream_id, const std::string& word, absl::Time since) {
  Job& job = since_.try_emplace(upstream_id, Job{word, since}).first->second;
  if (job.word != word) job = {word, since};
  return seen_.size() < kMostWords && seen_.insert(word).second;
}

std::vector<std::string> UnknownWords::TakeDue(absl::Time now) {
  std::vector<std::string> due;
  for (const auto& [id, job] : since_)
    if (job.since + timeout_ <= now) due.push_back(id);
  for (const std::string& id : due) since_.erase(id);
  return due;
}

absl::Time UnknownWords::NextDue() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [id, job] : since_) next = std::min(next, job.since + timeout_);
  return next;
}

}  // namespace finetune
