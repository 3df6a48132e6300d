#include "server/service/calls/block_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace finetune {
namespace {

// Keeps a block alive while a slice of it is in use.
struct Loan {
  std::shared_ptr<BlockPool> pool;
  std::unique_ptr<Block> block;
};

}  // namespace

size_t Block::Append(std::string_view bytes) {
  const size_t taken = std::min(bytes.size(), kSize - size_);
  std::memcpy(bytes_.get() + size_, bytes.data(), taken);
  size_ += taken;
  return taken;
}

std::unique_ptr<Block> BlockPool::Take() {
  {
    MutexLock lock(mu_);
    if (!unused_.empty()) {
      std::unique_ptr<Block> block = std::move(unused_.back());
      unused_.pop_back();
      return block;
    }
  }
  return std::make_unique<Block>();
}

void BlockPool::Return(std::unique_ptr<Block> block) {
  block->Clear();
  MutexLock lock(mu_);
  if (unused_.size() < most_unused_) unused_.push_back(std::move(block));
}

grpc::Slice BlockPool::Lend(std::unique_ptr<Block> block) {
  char* const data = const_cast<char*>(block->data());
  const size_t size = block->size();
  return grpc::Slice(
      data, size,
      [](void* held) {
        const std::unique_ptr<Loan> loan(static_cast<Loan*>(held));
        loan->pool->Return(std::move(loan->block));
      },
      new Loan{shared_from_this(), std::move(block)});
}

size_t BlockPool::unused() const {
  MutexLock lock(mu_);
  return unused_.size();
}

void BlockPool::Trim() {
  std::vector<std::unique_ptr<Block>> unused;
  MutexLock lock(mu_);
  unused.swap(unused_);
}

}  // namespace finetune
