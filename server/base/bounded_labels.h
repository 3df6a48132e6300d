#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace finetune {

// One T for each value of a label that comes from outside, such as one series of a metric. At most
// `most` values get a T of their own; all others share that of `other`. The T of a value never
// changes. Not thread-safe.
template <typename T>
class BoundedLabels {
 public:
  static constexpr char kOther[] = "other";
  using Make = std::function<T(const std::string& label)>;

  BoundedLabels(size_t most, Make make) : most_(most), make_(std::move(make)) { Of(kOther); }

  // Makes it if there is room. The reference is valid as long as this object.
  T& Of(std::string_view label) {
    const absl::string_view key(label.data(), label.size());
    if (const auto found = by_label_.find(key); found != by_label_.end()) return *found->second;
    if (by_label_.size() >= most_ || label.size() > kLongest) return *by_label_.at(kOther);
    std::string name(label);
    auto made = std::make_unique<T>(make_(name));
    return *by_label_.emplace(std::move(name), std::move(made)).first->second;
  }

  template <typename Visit>
  void ForEach(Visit visit) {
    for (auto& [label, value] : by_label_) visit(*value);
  }

 private:
  // The longest label that is kept, as long as the names in a policy may be.
  static constexpr size_t kLongest = 128;

  const size_t most_;
  const Make make_;
  absl::flat_hash_map<std::string, std::unique_ptr<T>> by_label_;
};

}  // namespace finetune
