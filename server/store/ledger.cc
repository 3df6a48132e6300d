#include "server/store/ledger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/error.h"
#include "server/base/time_proto.h"

namespace finetune {
namespace {

// Like kMaxJobMicros, keeps sums below 2^63.
constexpr int64_t kMaxBilledMicros = 1'000'000'000'000;

constexpr absl::Duration kQuarter = absl::Minutes(15);

JobOutcome OutcomeOf(const record::FineTuneRecord& record) {
  switch (record.fine_tune().state()) {
    case pb::FineTune::AVAILABLE:
      return JobOutcome::kAvailable;
    case pb::FineTune::FAILED:
      return JobOutcome::kFailed;
    case pb::FineTune::CANCELLED:
      return JobOutcome::kCancelled;
    case pb::FineTune::LOST:
      return JobOutcome::kLost;
    default:
      return record.dormant() ? JobOutcome::kDormant : JobOutcome::kOpen;
  }
}

CountedJob Counted(const record::Charge& charge, const pb::FineTune& job, const std::string& caller,
                   absl::Time otherwise, JobOutcome outcome) {
  CountedJob counted;
  const absl::Time time = charge.has_time() ? FromProto(charge.time()) : otherwise;
  counted.key = {.quarter = QuarterOf(time),
                 .caller = caller,
                 .team = charge.team(),
                 .model = job.base_model(),
                 .labels = EncodeLabels({charge.labels().begin(), charge.labels().end()}),
                 .unit = charge.unit(),
                 .outcome = outcome};
  counted.count = {.jobs = 1, .micros = charge.micros()};
  // The cost that Segmind reports counts, unless the operator's prices are in another unit.
  const pb::Cost& billed = job.billed_cost();
  if (job.has_billed_cost() && (charge.unit().empty() || charge.unit() == billed.unit()) &&
      billed.micros() >= 0 && billed.micros() <= kMaxBilledMicros) {
    counted.key.unit = billed.unit();
    counted.count.micros = billed.micros();
  }
  return counted;
}

}  // namespace

Quarter QuarterOf(absl::Time time) {
  absl::Duration rest;
  const Quarter quarter = absl::IDivDuration(time - absl::UnixEpoch(), kQuarter, &rest);
  return rest < absl::ZeroDuration() ? quarter - 1 : quarter;
}

absl::Time StartOf(Quarter quarter) {
  return quarter == kForever ? absl::InfiniteFuture() : absl::UnixEpoch() + quarter * kQuarter;
}

std::string UnitMeasure(const std::string& unit) { return absl::StrCat("unit:", unit); }

std::string AccountSubject() { return "account"; }
std::string CallerSubject(const std::string& caller) { return absl::StrCat("caller:", caller); }
std::string TeamSubject(const std::string& team) { return absl::StrCat("team:", team); }
std::string LabelSubject(const std::string& key, const std::string& value) {
  return absl::StrCat("label:", key, "=", value);
}

std::vector<std::string> SubjectsOf(const SpendingKey& key) {
  std::vector<std::string> subjects = {AccountSubject(), CallerSubject(key.caller)};
  if (!key.team.empty()) subjects.push_back(TeamSubject(key.team));
  for (const auto& [name, value] : DecodeLabels(key.labels))
    subjects.push_back(LabelSubject(name, value));
  return subjects;
}

int64_t AmountOf(const std::string& measure, const SpendingKey& key, const SpendingCount& count) {
  if (measure == kCountJobs) return count.jobs;
  if (measure == kCountOpen) return key.outcome == JobOutcome::kOpen ? count.jobs : 0;
  return !key.unit.empty() && measure == UnitMeasure(key.unit) ? count.micros : 0;
}

int64_t AmountIn(const TotalKey& total, const SpendingRows& rows) {
  int64_t amount = 0;
  for (auto it = rows.lower_bound({.quarter = total.start});
       it != rows.end() && it->first.quarter < total.end; ++it) {
    const int64_t added = AmountOf(total.measure, it->first, it->second);
    if (added == 0) continue;
    for (const std::string& subject : SubjectsOf(it->first))
      if (subject == total.subject) amount += added;
  }
  return amount;
}

std::vector<TotalChange> ChangesOfTotals(const SpendingRows& changes) {
  std::map<std::pair<Quarter, std::pair<std::string, std::string>>, int64_t> amounts;
  for (const auto& [key, count] : changes) {
    for (const std::string& subject : SubjectsOf(key)) {
      for (const std::string& measure :
           {std::string(kCountJobs), std::string(kCountOpen), UnitMeasure(key.unit)}) {
        if (const int64_t amount = AmountOf(measure, key, count); amount != 0)
          amounts[{key.quarter, {subject, measure}}] += amount;
      }
    }
  }
  std::vector<TotalChange> made;
  for (const auto& [key, amount] : amounts) {
    if (amount != 0) made.push_back({key.second.first, key.second.second, key.first, amount});
  }
  return made;
}

std::string EncodeLabels(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [key, value] : labels) absl::StrAppend(&text, key, "=", value, "\n");
  return text;
}

std::map<std::string, std::string> DecodeLabels(const std::string& labels) {
  std::map<std::string, std::string> decoded;
  for (const absl::string_view line : absl::StrSplit(labels, '\n', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> label = absl::StrSplit(line, absl::MaxSplits('=', 1));
    decoded.insert(label);
  }
  return decoded;
}

std::optional<CountedJob> CountedOf(const record::FineTuneRecord& record) {
  const pb::FineTune& job = record.fine_tune();
  const bool never_submitted =
      job.state() == pb::FineTune::FAILED && job.failure().reason() == pb::Failure::NOT_SUBMITTED;
  if (record.request_id().empty() || never_submitted) return std::nullopt;
  return Counted(record.charge(), job, job.creator(), FromProto(job.create_time()),
                 OutcomeOf(record));
}

std::optional<CountedJob> CountedOf(const record::Intent& intent) {
  if (intent.state() != record::Intent::PREPARED && intent.state() != record::Intent::UNKNOWN)
    return std::nullopt;
  return Counted(intent.charge(), intent.fine_tune(), intent.caller(),
                 FromProto(intent.create_time()), JobOutcome::kOpen);
}

void LedgerSum::Add(const record::FineTuneRecord& record) {
  visible_[record.fine_tune().name()] = true;
  if (const auto counted = CountedOf(record)) rows_[counted->key] += counted->count;
}

void LedgerSum::Add(const record::Intent& intent) {
  if (visible_.contains(absl::StrCat("fineTunes/", intent.fine_tune_id()))) return;
  if (const auto counted = CountedOf(intent)) rows_[counted->key] += counted->count;
}

}  // namespace finetune
