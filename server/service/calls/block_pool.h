#pragma once

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "server/base/mutex.h"

namespace finetune {

// Bytes that are collected for one message and then sent without another copy. Not thread-safe.
class Block {
 public:
  static constexpr size_t kSize = size_t{1} << 20;

  Block() : bytes_(new char[kSize]) {}

  size_t size() const { return size_; }
  bool full() const { return size_ == kSize; }
  // Takes as many of the bytes as there is room for; returns how many.
  size_t Append(std::string_view bytes);
  void Clear() { size_ = 0; }
  const char* data() const { return bytes_.get(); }

 private:
  const std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
};

// A pool of blocks, because fresh memory costs a page fault for each 4 KiB, which at a gigabyte a
// second is more work than moving the bytes. Thread-safe; also owned by the blocks that are lent to
// gRPC, which may come back late.
class BlockPool : public std::enable_shared_from_this<BlockPool> {
 public:
  // Keeps at most this many unused blocks.
  explicit BlockPool(size_t most_unused) : most_unused_(most_unused) {}

  // An empty block.
  std::unique_ptr<Block> Take() ABSL_LOCKS_EXCLUDED(mu_);
  void Return(std::unique_ptr<Block> block) ABSL_LOCKS_EXCLUDED(mu_);
  // The block's bytes; it comes back by itself once nobody holds the slice.
  grpc::Slice Lend(std::unique_ptr<Block> block);
  size_t unused() const ABSL_LOCKS_EXCLUDED(mu_);
  // Frees the unused blocks.
  void Trim() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const size_t most_unused_;

  mutable Mutex mu_;
  std::vector<std::unique_ptr<Block>> unused_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
