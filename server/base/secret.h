#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace finetune {

// Text that must appear in no log, error, metric, trace or store: it has no stream operator and no
// conversion, so that printing it takes a deliberate Reveal(). Its memory is wiped when it is
// destroyed, assigned to or moved from. Code that copies what Reveal() returns must wipe the copy.
// A value: const access is thread-safe.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.Wipe(); }
  ~Secret() { Wipe(); }

  // For the one place that sends it.
  const std::string& Reveal() const { return value_; }
  bool empty() const { return value_.empty(); }

  // In constant time for values of equal length.
  bool Equals(std::string_view other) const;
  friend bool operator==(const Secret& a, const Secret& b) { return a.Equals(b.value_); }

 private:
  void Wipe();

  std::string value_;
};

}  // namespace finetune
