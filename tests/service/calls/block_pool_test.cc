#include "server/service/calls/block_pool.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace finetune {
namespace {

TEST(BlockPool, FillsABlockToItsBrim) {
  Block block;
  const std::string bytes(Block::kSize - 3, 'x');
  EXPECT_EQ(block.Append(bytes), bytes.size());
  EXPECT_FALSE(block.full());
  EXPECT_EQ(block.Append("abcde"), 3u);
  EXPECT_TRUE(block.full());
  EXPECT_EQ(block.Append("f"), 0u);
  EXPECT_EQ(std::string_view(block.data(), block.size()).substr(Block::kSize - 4), "xabc");
}

TEST(BlockPool, LendsTheBytesWithoutACopyUntilTheLastSliceIsGone) {
  auto pool = std::make_shared<BlockPool>(1);
  auto block = pool->Take();
  block->Append("hello");
  const char* const data = block->data();
  grpc::Slice slice = pool->Lend(std::move(block));
  EXPECT_EQ(std::string(slice.begin(), slice.end()), "hello");
  EXPECT_EQ(reinterpret_cast<const char*>(slice.begin()), data);
  grpc::Slice second = slice;
  slice = grpc::Slice();
  EXPECT_NE(pool->Take()->data(), data) << "it is still lent";
  EXPECT_EQ(std::string(second.begin(), second.end()), "hello");
  second = grpc::Slice();
  const auto again = pool->Take();
  EXPECT_EQ(again->data(), data);
  EXPECT_EQ(again->size(), 0u);
}

TEST(BlockPool, KeepsNoMoreThanItMay) {
  auto pool = std::make_shared<BlockPool>(1);
  auto one = pool->Take(), two = pool->Take();
  const char* const first = one->data();
  const char* const second = two->data();
  pool->Return(std::move(one));
  pool->Return(std::move(two));
  EXPECT_EQ(pool->unused(), 1u);
  const auto again = pool->Take();
  EXPECT_EQ(again->data(), first);
  EXPECT_NE(again->data(), second);
  pool->Return(pool->Take());
  pool->Trim();
  EXPECT_EQ(pool->unused(), 0u);
}

TEST(BlockPool, LivesAsLongAsALentBlock) {
  auto pool = std::make_shared<BlockPool>(1);
  auto block = pool->Take();
  block->Append("late");
  grpc::Slice slice = pool->Lend(std::move(block));
  const std::weak_ptr<BlockPool> left = pool;
  pool.reset();
  EXPECT_EQ(std::string(slice.begin(), slice.end()), "late");
  slice = grpc::Slice();
  EXPECT_TRUE(left.expired());
}

}  // namespace
}  // namespace finetune
