#include "server/service/requests/list_order.h"

#include <gtest/gtest.h>

#include <random>

namespace finetune {
namespace {

ListOrder Order(std::string_view text) {
  auto order = ListOrder::Parse(text);
  EXPECT_TRUE(order.ok()) << text << ": " << order.status();
  return *std::move(order);
}

FineTuneVersion Job(uint64_t first_revision, int64_t created, int64_t updated,
                    const std::string& name) {
  FineTuneVersion version;
  version.first_revision = first_revision;
  version.create_time = absl::FromUnixSeconds(created);
  version.update_time = absl::FromUnixSeconds(updated) + absl::Nanoseconds(7);
  version.display_name = name;
  return version;
}

TEST(ListOrder, IsNewestFirstWithoutAText) {
  EXPECT_EQ(Order("").key(), Order("create_time desc").key());
  EXPECT_EQ(Order("  ").key(), Order(" create_time   desc ").key());
  EXPECT_TRUE(Order("").is_kept());
  EXPECT_TRUE(Order("create_time").is_kept());
  EXPECT_FALSE(Order("create_time, display_name").is_kept());
  EXPECT_NE(Order("create_time").key(), Order("create_time desc").key());
}

TEST(ListOrder, RefusesWhatItDoesNotKnow) {
  for (const std::string& text :
       {std::string("name"), std::string("create_time asc"), std::string("create_time DESC"),
        std::string("create_time,"), std::string(","), std::string("create_time desc desc"),
        std::string("create_time, create_time desc"), std::string("display_name\0", 13),
        std::string("\xff"), std::string(201, ' ')}) {
    const absl::Status status = ListOrder::Parse(text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
  }
}

TEST(ListOrder, BreaksTiesByWhenAJobWasFirstSeenInTheLastDirection) {
  const FineTuneVersion first = Job(1, 5, 5, "x"), second = Job(2, 5, 5, "x");
  EXPECT_TRUE(Order("display_name").Before(first, second));
  EXPECT_TRUE(Order("display_name desc").Before(second, first));
  EXPECT_TRUE(Order("create_time desc, display_name").Before(first, second));
  EXPECT_FALSE(Order("display_name").Before(first, first));
}

TEST(ListOrder, ComparesByItsNamesInTurn) {
  const FineTuneVersion a = Job(1, 10, 30, "b"), b = Job(2, 10, 20, "a"), c = Job(3, 5, 40, "a");
  EXPECT_TRUE(Order("create_time, update_time").Before(c, b));
  EXPECT_TRUE(Order("create_time, update_time").Before(b, a));
  EXPECT_TRUE(Order("display_name, create_time desc").Before(b, c));
  EXPECT_TRUE(Order("display_name desc").Before(a, b));
}

TEST(ListOrder, APlaceComesBackAsWhereItWas) {
  std::mt19937 random(1);
  std::vector<FineTuneVersion> jobs;
  for (uint64_t i = 1; i <= 40; ++i)
    jobs.push_back(Job(i, static_cast<int64_t>(random() % 5) - 2, random() % 5,
                       std::string(random() % 3, 'n')));
  for (const char* text : {"", "create_time", "update_time desc", "display_name, create_time desc",
                           "display_name desc, update_time, create_time"}) {
    const ListOrder order = Order(text);
    for (const FineTuneVersion& job : jobs) {
      const auto place = order.VersionAt(order.PlaceOf(job));
      ASSERT_TRUE(place) << text;
      for (const FineTuneVersion& other : jobs) {
        ASSERT_EQ(order.Before(*place, other), order.Before(job, other)) << text;
        ASSERT_EQ(order.Before(other, *place), order.Before(other, job)) << text;
      }
    }
  }
}

TEST(ListOrder, TakesNoBytesForAPlaceThatAreNone) {
  const ListOrder order = Order("display_name, update_time");
  const std::string place = order.PlaceOf(Job(1, 2, 3, "name"));
  EXPECT_FALSE(order.VersionAt(""));
  EXPECT_FALSE(order.VersionAt(place + "x"));
  for (size_t size = 0; size < place.size(); ++size)
    EXPECT_FALSE(order.VersionAt(place.substr(0, size))) << size;
  // A name that claims to be longer than all there is.
  std::string lying = place;
  for (size_t i = 8; i < 16; ++i) lying[i] = '\xff';
  EXPECT_FALSE(order.VersionAt(lying));
  EXPECT_FALSE(Order("create_time").VersionAt(place));
}

TEST(ListOrder, TakesTimesThatNoClockShows) {
  const ListOrder order = Order("create_time");
  std::string place = order.PlaceOf(Job(1, 2, 3, ""));
  for (size_t i = 8; i < place.size(); ++i) place[i] = '\x7f';
  const auto version = order.VersionAt(place);
  ASSERT_TRUE(version);
  EXPECT_EQ(order.Before(Job(1, 2, 3, ""), *version), true);
}

}  // namespace
}  // namespace finetune
