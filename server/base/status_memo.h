#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"

namespace finetune {

// Remembers what was made from the last few statuses, for code that meets the same status again and
// again and makes something costly from it. Copies of one status are found quickly, equal ones
// correctly. Not thread-safe: use one for each thread.
template <typename T>
class StatusMemo {
 public:
  // `make(status)`, or what it returned before for this status.
  template <typename Make>
  const T& Of(const absl::Status& status, Make make) {
    for (Known& known : known_) {
      if (known.status == status && !status.ok()) return known.made;
    }
    Known& known = known_[next_++ % kMost];
    known = {absl::OkStatus(), make(status)};
    known.status = status;
    return known.made;
  }

 private:
  // A caller may be refused for several reasons at a time.
  static constexpr size_t kMost = 8;
  struct Known {
    absl::Status status;
    T made{};
  };

  std::array<Known, kMost> known_;
  size_t next_ = 0;
};

}  // namespace finetune
