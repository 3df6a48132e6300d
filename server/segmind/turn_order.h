#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/segmind/made_calls.h"

namespace finetune {

// How many waiting calls go before one of them: of each group, and of its own caller.
struct CallsAhead {
  std::array<size_t, kCallGroups> groups{};
  size_t own = 0;

  size_t In(CallGroup group) const { return groups[static_cast<size_t>(group)]; }
  bool none() const { return In(CallGroup::kAll) == 0; }
};

// Walks waiting calls in the order of their turns: by priority; then by how many calls their caller
// will have made by then, the fewest first; then as they came. All of n in n log n steps. Not
// thread-safe; what it is made of outlives it.
class TurnOrder {
 public:
  // `waiting`: as they came.
  TurnOrder(const std::vector<const CallWant*>& waiting, const MadeCalls& made);

  // The number of the next one in `waiting`.
  std::optional<size_t> Next();
  CallsAhead Ahead() const;
  // That one goes before those behind it; otherwise it counts as gone.
  void Keep();

 private:
  using LineKey = std::pair<CallPriority, const Sharer*>;
  // One caller's, of one priority. They go in the order of their coming.
  struct Line {
    std::vector<size_t> numbers;
    size_t next = 0;
    size_t rank = 0;  // How many calls the caller will have made when it is the next one's turn.
  };
  using Head = std::tuple<CallPriority, size_t /*rank*/, size_t /*number*/, Line*>;

  const std::vector<const CallWant*>& waiting_;
  std::map<LineKey, Line> lines_;
  std::priority_queue<Head, std::vector<Head>, std::greater<>> heads_;
  std::optional<size_t> current_;
  Line* line_ = nullptr;  // The current one's.
  std::array<size_t, kCallGroups> groups_{};
  absl::flat_hash_map<const Sharer*, size_t> own_;
};

}  // namespace finetune
