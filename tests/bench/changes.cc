#include "tests/bench/changes.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tests/bench/process.h"

namespace finetune::bench {
namespace {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

std::string Values(const std::vector<double>& values) {
  return absl::StrJoin(values, ", ", [](std::string* out, double value) {
    absl::StrAppendFormat(out, "%.3f", value);
  });
}

double Milliseconds(int64_t from, int64_t to) { return static_cast<double>(to - from) / 1e6; }

}  // namespace

std::vector<double> MakeAlone(const MakeChange& make, int changes) {
  std::vector<double> made;
  for (int change = 0; change < changes; ++change) {
    const auto start = make(change);
    if (start) made.push_back(Milliseconds(*start, NowNanoseconds()));
  }
  return made;
}

ChangesResult MeasureChanges(const ChangesOptions& options, Receipts& receipts,
                             const MakeChange& make) {
  ChangesResult result;
  const double cpu_before = CpuSeconds(options.pid);
  const double own_before = CpuSeconds(getpid());
  for (int change = 0; change < options.changes; ++change) {
    receipts.Expect(options.deliveries);
    const auto start = make(change);
    if (!start) return result;
    result.made.push_back(Milliseconds(*start, NowNanoseconds()));
    if (!receipts.Await()) return result;
    const std::vector<int64_t> times = receipts.Sorted();
    const size_t n = times.size();
    result.first.push_back(Milliseconds(*start, times.front()));
    result.median.push_back(Milliseconds(*start, times[n / 2]));
    result.p99.push_back(Milliseconds(*start, times[std::min(n - 1, n * 99 / 100)]));
    result.last.push_back(Milliseconds(*start, times.back()));
  }
  result.cpu_us_per_change = (CpuSeconds(options.pid) - cpu_before) * 1e6 / options.changes;
  result.own_us_per_delivery =
      (CpuSeconds(getpid()) - own_before) * 1e6 / options.changes / options.deliveries;
  result.complete = receipts.wrong() == 0;
  return result;
}

std::string ToJson(const ChangesOptions& options, const Receipts& receipts,
                   const ChangesResult& r) {
  return absl::StrFormat(
      R"({"receivers": %d, "deliveries": %d, "changes": %d, "first_ms": %.3f, "median_ms": %.3f, "p99_ms": %.3f, )"
      R"("last_ms": %.3f, "made_ms": %.3f, "made_alone_ms": %.3f, "cpu_us_per_change": %.1f, )"
      R"("cpu_us_per_delivery": %.3f, "own_us_per_delivery": %.3f, "bytes_per_receiver": %.0f, "message_bytes": %d, )"
      R"("wrong": %d, "complete": %s, "all_first_ms": [%s], "all_p99_ms": [%s], "all_last_ms": [%s]})",
      options.receivers, options.deliveries, options.changes, Median(r.first), Median(r.median),
      Median(r.p99), Median(r.last), Median(r.made), Median(r.made_alone), r.cpu_us_per_change,
      r.cpu_us_per_change / options.deliveries, r.own_us_per_delivery, r.bytes_per_receiver,
      receipts.bytes(), receipts.wrong(), r.complete ? "true" : "false", Values(r.first),
      Values(r.p99), Values(r.last));
}

}  // namespace finetune::bench
