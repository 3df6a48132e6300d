#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"

namespace finetune {

// What was made of the last few statuses, for where the same one comes again and again and making it
// takes long. Finding it is quick if they are copies of one another, and right if they only say the
// same. Not thread-safe: one a thread.
template <typename T>
class StatusMemo {
 public:
  // `make(status)`, or what it was before.
  template <typename Make>
  const T& Of(const absl::Status& status, Make make) {
    for (Entry& entry : entries_) {
      if (entry.status == status && !status.ok()) return entry.made;
    }
    Entry& entry = entries_[next_++ % kEntries];
    entry = {absl::OkStatus(), make(status)};
    entry.status = status;
    return entry.made;
  }

 private:
  // A caller that is refused may be so for several reasons at a time.
  static constexpr size_t kEntries = 8;
  struct Entry {
    absl::Status status;
    T made{};
  };

  std::array<Entry, kEntries> entries_;
  size_t next_ = 0;
};

}  // namespace finetune
