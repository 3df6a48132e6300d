#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/store/record.pb.h"

namespace finetune {

// The ledger: what the gateway's submissions cost, and whose they are. It consists of rows that
// count the jobs of one kind, and of totals of those rows for budgets, and stays in the record when
// jobs are forgotten.

// Time is counted in quarters of an hour since 1970, because in every time zone in use today a day
// begins with one.
using Quarter = int64_t;
inline constexpr Quarter kForever = std::numeric_limits<int64_t>::max();
Quarter QuarterOf(absl::Time time);
absl::Time StartOf(Quarter quarter);

// How long rows and totals are kept.
inline constexpr absl::Duration kKeepSpending = absl::Hours(24 * 400);

// What became of a job. The numbers are stored: never change them.
enum class JobOutcome : int64_t {
  kOpen = 1,  // It has not ended, or may not exist.
  kAvailable = 2,
  kFailed = 3,
  kCancelled = 4,
  kLost = 5,
  kDormant = 6,  // Its state has been unknown for a long time.
};

// One kind of job.
struct SpendingKey {
  Quarter quarter = 0;  // When it was submitted.
  std::string caller;
  std::string team;
  std::string model;
  std::string labels;  // `key=value`, each followed by a line feed, sorted by key.
  std::string unit;    // Empty: unpriced.
  JobOutcome outcome = JobOutcome::kOpen;

  auto operator<=>(const SpendingKey&) const = default;
};

// How many jobs, and what they cost together; or by how much a commit changes the two.
struct SpendingCount {
  int64_t jobs = 0;
  int64_t micros = 0;

  bool operator==(const SpendingCount&) const = default;
  bool empty() const { return jobs == 0 && micros == 0; }
  SpendingCount& operator+=(const SpendingCount& other) {
    jobs += other.jobs;
    micros += other.micros;
    return *this;
  }
};
using SpendingRows = std::map<SpendingKey, SpendingCount>;

// What a budget counts: `measure` of the jobs of `subject` that were submitted from `start` on and
// before `end`.
struct TotalKey {
  std::string subject;  // Of SubjectsOf.
  std::string measure;  // kCountJobs, kCountOpen, or a unit's UnitMeasure.
  Quarter start = 0;
  Quarter end = kForever;

  auto operator<=>(const TotalKey&) const = default;
};
inline constexpr char kCountJobs[] = "jobs";
inline constexpr char kCountOpen[] = "open";
std::string UnitMeasure(const std::string& unit);

// The subjects that a kind of job counts towards.
std::string AccountSubject();
std::string CallerSubject(const std::string& caller);
std::string TeamSubject(const std::string& team);
std::string LabelSubject(const std::string& key, const std::string& value);
std::vector<std::string> SubjectsOf(const SpendingKey& key);

// What a row adds to a total of that measure, whatever the subject and time of the total.
int64_t AmountOf(const std::string& measure, const SpendingKey& key, const SpendingCount& count);
// What all rows add to that total.
int64_t AmountIn(const TotalKey& total, const SpendingRows& rows);

// What a commit does to totals: it adds `amount` to all totals of the subject and the measure whose
// time includes the quarter.
struct TotalChange {
  std::string subject;
  std::string measure;
  Quarter quarter = 0;
  int64_t amount = 0;
};
std::vector<TotalChange> ChangesOfTotals(const SpendingRows& changes);

// The labels as SpendingKey has them, and back.
std::string EncodeLabels(const std::map<std::string, std::string>& labels);
std::map<std::string, std::string> DecodeLabels(const std::string& labels);

// One submission, as the ledger counts it.
struct CountedJob {
  SpendingKey key;
  SpendingCount count;

  bool operator==(const CountedJob&) const = default;
};
// Nullopt if nothing was spent through this gateway: for a job made elsewhere, and one that Segmind
// never had.
std::optional<CountedJob> CountedOf(const record::FineTuneRecord& record);
// The same for a submission whose job is not visible yet; nullopt once it is settled.
std::optional<CountedJob> CountedOf(const record::Intent& intent);

// Computes the whole ledger from the record. Not thread-safe.
class LedgerSum {
 public:
  void Add(const record::FineTuneRecord& record);
  // Call it after all records were added.
  void Add(const record::Intent& intent);
  const SpendingRows& rows() const { return rows_; }

 private:
  SpendingRows rows_;
  std::map<std::string, bool> visible_;
};

}  // namespace finetune
