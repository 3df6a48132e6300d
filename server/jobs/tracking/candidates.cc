#include "server/jobs/tracking/candidates.h"

#include <algorithm>
#include <utility>

namespace finetune {
namespace {

// How often details are tried between two lists.
constexpr int kMaxTries = 3;

template <typename T>
void Fill(const std::optional<T>& from, std::optional<T>& to) {
  if (!to) to = from;
}

// Takes from `other` what `job` lacks.
void FillIn(const UpstreamJob& other, UpstreamJob& job) {
  if (job.request_id.empty()) job.request_id = other.request_id;
  if (job.status.empty()) job.status = other.status;
  pb::FineTune fields = other.fields;
  fields.MergeFrom(job.fields);
  job.fields = std::move(fields);
  Fill(other.name, job.name);
  Fill(other.error_message, job.error_message);
  Fill(other.cloud_storage_url, job.cloud_storage_url);
  Fill(other.is_public, job.is_public);
  Fill(other.created, job.created);
  Fill(other.updated, job.updated);
  Fill(other.parameters, job.parameters);
  Fill(other.model_information, job.model_information);
  job.from_details = job.from_details || other.from_details;
}

}  // namespace

std::vector<Candidate> Candidates::Snapshot() const {
  std::vector<Candidate> all;
  all.reserve(jobs_.size());
  for (const auto& [id, known] : jobs_) all.push_back(known.candidate);
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return a.shown_read != b.shown_read ? a.shown_read < b.shown_read : a.job.id < b.job.id;
  });
  return all;
}

void Candidates::Add(std::vector<Candidate> seen) {
  for (Candidate& candidate : seen) {
    auto [it, is_new] = jobs_.try_emplace(candidate.job.id);
    Candidate& known = it->second.candidate;
    if (!is_new) {
      FillIn(known.job, candidate.job);
      candidate.shown_read = std::min(candidate.shown_read, known.shown_read);
      candidate.details_read = candidate.details_read || known.details_read;
      candidate.details_put_off = known.details_put_off;
    }
    known = std::move(candidate);
  }
}

void Candidates::Take(const SearchResult& result, bool of_list) {
  for (const auto* gone : {&result.adopted, &result.dropped})
    for (const std::string& id : *gone) jobs_.erase(id);
  if (!result.dropped.empty() && result.loads == loads_) {
    auto dropped = std::make_shared<Ids>(*dropped_);
    dropped->insert(result.dropped.begin(), result.dropped.end());
    dropped_ = std::move(dropped);
  }
  if (of_list) absences_ = result.absences;
  if (of_list && result.loads == loads_) {
    compared_ = compared_by_next_list_;
    if (!result.uncompared.empty()) {
      auto next = std::make_shared<Ids>(*compared_);
      next->insert(result.uncompared.begin(), result.uncompared.end());
      compared_by_next_list_ = std::move(next);
      dropped_ = std::make_shared<const Ids>();
    }
  }
  for (const std::string& id : result.settled) told_.erase(id);
}

void Candidates::ForgetDropped(uint64_t loads) {
  loads_ = loads;
  if (!dropped_->empty()) dropped_ = std::make_shared<const Ids>();
  if (!compared_by_next_list_->empty())
    compared_ = compared_by_next_list_ = std::make_shared<const Ids>();
}

void Candidates::TakeDetails(const std::string& upstream_id, const UpstreamJob& details,
                             uint64_t read, absl::Time time) {
  const auto found = jobs_.find(upstream_id);
  if (found == jobs_.end()) return;
  Candidate& known = found->second.candidate;
  UpstreamJob job = details;
  job.id = known.job.id;
  FillIn(known.job, job);
  known.job = std::move(job);
  known.read = std::max(known.read, read);
  known.time = std::max(known.time, time);
  known.details_read = true;
  known.details_put_off = false;
  found->second.gave_up = false;
  found->second.first_failed.reset();
}

void Candidates::TakeNoDetails(const std::string& upstream_id, bool for_good, absl::Time now) {
  const auto found = jobs_.find(upstream_id);
  if (found == jobs_.end() || found->second.candidate.details_read) return;
  Known& known = found->second;
  if (!known.first_failed) known.first_failed = now;
  if (++known.tries < kMaxTries && !for_good) return;
  known.candidate.details_put_off = true;
  if (now - *known.first_failed < patience_) return;
  known.candidate.details_read = true;
  known.gave_up = true;
}

void Candidates::AskAgain() {
  for (auto& [id, known] : jobs_) {
    known.tries = 0;
    known.candidate.details_put_off = false;
    if (std::exchange(known.gave_up, false)) known.candidate.details_read = false;
  }
}

}  // namespace finetune
