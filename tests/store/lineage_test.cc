#include "server/store/lineage.h"

#include <gtest/gtest.h>

#include <set>

namespace finetune {
namespace {

// Era 7 had commits 1 to 60; a copy from after its 40th commit (with revision 400) was put back.
const Lineage kTwo({{.id = 7, .base_revision = 0, .base_seq = 0},
                    {.id = 8, .base_revision = 400, .base_seq = 40}});

TEST(Lineage, HasWhatTheNextEraBeganWithAndNothingBeyond) {
  EXPECT_TRUE(kTwo.HasRevision(7, 400, 900));
  EXPECT_FALSE(kTwo.HasRevision(7, 401, 900)) << "lost with the file";
  EXPECT_TRUE(kTwo.HasSeq(7, 40, 90));
  EXPECT_FALSE(kTwo.HasSeq(7, 41, 90));
}

TEST(Lineage, HasOfTheCurrentEraWhatThereIsByNow) {
  EXPECT_TRUE(kTwo.HasRevision(8, 900, 900));
  EXPECT_FALSE(kTwo.HasRevision(8, 901, 900));
  EXPECT_TRUE(kTwo.HasRevision(8, 100, 900)) << "what came before it led to it";
  EXPECT_TRUE(kTwo.HasSeq(8, 90, 90));
  EXPECT_FALSE(kTwo.HasSeq(8, 91, 90));
  EXPECT_EQ(kTwo.current(), 8u);
}

TEST(Lineage, HasNothingOfAnEraThatItDoesNotKnow) {
  EXPECT_FALSE(kTwo.Knows(9));
  EXPECT_FALSE(kTwo.HasRevision(9, 0, 900));
  EXPECT_FALSE(kTwo.HasSeq(9, 0, 90));
}

TEST(Lineage, TakesTokensFromBeforeThereWereErasForTheFirstAsLongAsItIsKept) {
  EXPECT_TRUE(kTwo.HasRevision(Lineage::kFirstEra, 400, 900));
  EXPECT_FALSE(kTwo.HasRevision(Lineage::kFirstEra, 401, 900));
  const Lineage forgotten({{.id = 8, .base_revision = 400, .base_seq = 40}});
  EXPECT_FALSE(forgotten.HasRevision(Lineage::kFirstEra, 0, 900));
}

TEST(Lineage, OfNothingHasNothing) {
  const Lineage none;
  EXPECT_EQ(none.current(), 0u);
  EXPECT_FALSE(none.HasRevision(Lineage::kFirstEra, 0, 900));
  EXPECT_FALSE(none.Knows(Lineage::kFirstEra));
}

TEST(Lineage, ErasHaveNamesThatFitIntoADatabase) {
  std::set<uint64_t> ids;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t id = MakeEraId();
    EXPECT_NE(id, Lineage::kFirstEra);
    EXPECT_LE(id, static_cast<uint64_t>(INT64_MAX));
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 1000u);
}

}  // namespace
}  // namespace finetune
