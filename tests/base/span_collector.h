#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/mutex.h"
#include "server/base/trace.h"

namespace finetune {

// A SpanSink that keeps what has ended. Thread-safe.
class SpanCollector : public SpanSink {
 public:
  void OnEnd(SpanRecord record) override {
    MutexLock lock(mu_);
    records_.push_back(std::move(record));
  }

  std::vector<SpanRecord> records() const {
    MutexLock lock(mu_);
    return records_;
  }
  // Those of that name, in the order of their ends.
  std::vector<SpanRecord> Named(std::string_view name) const {
    std::vector<SpanRecord> named = records();
    std::erase_if(named, [&](const SpanRecord& record) { return record.name != name; });
    return named;
  }

 private:
  mutable Mutex mu_;
  std::vector<SpanRecord> records_ ABSL_GUARDED_BY(mu_);
};

// The attribute as text; "-" if there is none.
inline std::string AttributeOf(const SpanRecord& record, std::string_view key) {
  for (const auto& [name, value] : record.attributes) {
    if (name != key) continue;
    if (auto* text = std::get_if<std::string>(&value)) return *text;
    if (auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
    return std::get<bool>(value) ? "true" : "false";
  }
  return "-";
}

}  // namespace finetune
