#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/base/check.h"
#include "server/jobs/record/version.h"

namespace finetune {

// Versions of jobs in the order of a key that no two of them share. Immutable, so cheap to keep:
// lists made from one another share all chunks that did not change between them, and copying a list
// copies only pointers to its chunks.
//
// `Order` has a `Key` and a static `Key Of(const FineTuneVersion&)`.
template <typename Order>
class VersionList {
 public:
  using Key = typename Order::Key;
  // Appending fills chunks of this size; a chunk has at most twice as many. When a chunk becomes
  // small it is joined with a neighbour if the two fit, so that a list has few chunks however it
  // shrinks.
  static constexpr size_t kChunk = 256;

  class Editor;

  size_t size() const { return size_; }
  const VersionPtr& at(size_t i) const {
    const size_t number = ChunkAt(i);
    return (*chunks_[number])[i - starts_[number]];
  }
  // The index of the first whose key is not less than this one; size() if none.
  size_t LowerBound(const Key& key) const {
    const size_t number = ChunkOf(key);
    if (number == chunks_.size()) return size_;
    return starts_[number] + IndexIn(*chunks_[number], key);
  }

  // Calls `visit` with each from this index on, or down from the one before it, until it says
  // false. Faster than asking for one after another.
  template <typename Visit>
  void Ascend(size_t begin, const Visit& visit) const {
    for (size_t number = ChunkAt(begin); number < chunks_.size(); ++number) {
      const Chunk& chunk = *chunks_[number];
      for (size_t i = begin - std::min(begin, starts_[number]); i < chunk.size(); ++i) {
        if (!visit(*chunk[i])) return;
      }
      begin = 0;
    }
  }
  template <typename Visit>
  void Descend(size_t end, const Visit& visit) const {
    for (size_t number = end == 0 ? 0 : ChunkAt(end - 1) + 1; number-- > 0;) {
      const Chunk& chunk = *chunks_[number];
      for (size_t i = std::min(end - starts_[number], chunk.size()); i-- > 0;) {
        if (!visit(*chunk[i])) return;
      }
    }
  }

 private:
  using Chunk = std::vector<VersionPtr>;

  // The number of the chunk that holds this index; if none does, of one past the last.
  size_t ChunkAt(size_t index) const {
    if (index >= size_) return chunks_.size();
    return static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), index) -
                               starts_.begin()) -
           1;
  }
  // The first chunk that ends at this key or after it.
  size_t ChunkOf(const Key& key) const {
    const auto it = std::partition_point(chunks_.begin(), chunks_.end(), [&](const auto& chunk) {
      return Order::Of(*chunk->back()) < key;
    });
    return static_cast<size_t>(it - chunks_.begin());
  }
  static size_t IndexIn(const Chunk& chunk, const Key& key) {
    const auto it =
        std::partition_point(chunk.begin(), chunk.end(),
                             [&](const VersionPtr& version) { return Order::Of(*version) < key; });
    return static_cast<size_t>(it - chunk.begin());
  }

  size_t size_ = 0;
  std::vector<std::shared_ptr<const Chunk>> chunks_;  // None is empty.
  std::vector<size_t> starts_;                        // The index of each chunk's first.
};

// Makes a list out of an earlier one. For one thread and one run of changes.
template <typename Order>
class VersionList<Order>::Editor {
 public:
  explicit Editor(const VersionList& from) : list_(from) {}

  void Insert(VersionPtr version) {
    const Key key = Order::Of(*version);
    ++list_.size_;
    size_t number = list_.ChunkOf(key);
    if (number == list_.chunks_.size()) {
      // The last one of all: appended, to a new chunk if the last is full.
      if (number == 0 || list_.chunks_.back()->size() >= kChunk) {
        auto chunk = std::make_shared<Chunk>();
        own_[chunk.get()] = chunk;
        list_.chunks_.push_back(std::move(chunk));
      } else {
        --number;
      }
    }
    Chunk& chunk = Own(number);
    chunk.insert(chunk.begin() + static_cast<ptrdiff_t>(IndexIn(chunk, key)), std::move(version));
    if (chunk.size() > 2 * kChunk) Split(number, chunk);
  }

  // `old` is in the list.
  void Erase(const FineTuneVersion& old) {
    const Key key = Order::Of(old);
    const size_t number = list_.ChunkOf(key);
    Chunk& chunk = Own(number);
    chunk.erase(chunk.begin() + static_cast<ptrdiff_t>(Find(chunk, old)));
    --list_.size_;
    if (chunk.empty())
      list_.chunks_.erase(list_.chunks_.begin() + static_cast<ptrdiff_t>(number));
    else if (chunk.size() < kChunk / 4)
      JoinNext(number);
  }

  void Replace(const FineTuneVersion& old, VersionPtr version) {
    const Key key = Order::Of(old);
    if (key < Order::Of(*version) || Order::Of(*version) < key) {
      Erase(old);
      Insert(std::move(version));
      return;
    }
    Chunk& chunk = Own(list_.ChunkOf(key));
    chunk[Find(chunk, old)] = std::move(version);
  }

  VersionList Take() && {
    list_.starts_.clear();
    list_.starts_.reserve(list_.chunks_.size());
    size_t start = 0;
    for (const auto& chunk : list_.chunks_) {
      list_.starts_.push_back(start);
      start += chunk->size();
    }
    return std::move(list_);
  }

 private:
  static size_t Find(const Chunk& chunk, const FineTuneVersion& version) {
    const size_t index = IndexIn(chunk, Order::Of(version));
    CHECK(index < chunk.size() && chunk[index]->id == version.id);
    return index;
  }

  // A chunk that this list alone has.
  Chunk& Own(size_t number) {
    CHECK(number < list_.chunks_.size());
    auto& chunk = list_.chunks_[number];
    auto& own = own_[chunk.get()];
    if (own == nullptr) {
      auto copy = std::make_shared<Chunk>();
      copy->reserve(chunk->size() + 1);
      *copy = *chunk;
      own_.erase(chunk.get());
      own_[copy.get()] = copy;
      chunk = copy;
      return *copy;
    }
    return *own;
  }

  void JoinNext(size_t number) {
    if (number + 1 >= list_.chunks_.size()) return;
    const auto& next = list_.chunks_[number + 1];
    Chunk& chunk = Own(number);
    if (chunk.size() + next->size() > kChunk) return;
    chunk.insert(chunk.end(), next->begin(), next->end());
    own_.erase(next.get());
    list_.chunks_.erase(list_.chunks_.begin() + static_cast<ptrdiff_t>(number) + 1);
  }

  void Split(size_t number, Chunk& chunk) {
    const auto middle = chunk.begin() + static_cast<ptrdiff_t>(chunk.size() / 2);
    auto second = std::make_shared<Chunk>(std::make_move_iterator(middle),
                                          std::make_move_iterator(chunk.end()));
    chunk.erase(middle, chunk.end());
    own_[second.get()] = second;
    list_.chunks_.insert(list_.chunks_.begin() + static_cast<ptrdiff_t>(number) + 1,
                         std::move(second));
  }

  VersionList list_;
  absl::flat_hash_map<const Chunk*, std::shared_ptr<Chunk>> own_;
};

}  // namespace finetune
