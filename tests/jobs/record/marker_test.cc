#include "server/jobs/record/marker.h"

#include <set>

#include "gtest/gtest.h"

namespace finetune {
namespace {

TEST(Marker, ComesOffTheNameItWasAddedTo) {
  for (const char* name : {"cats", "a-b-c", "x", "Katzen \xc3\xbc", "fg", "-"}) {
    const std::string marker = MakeMarker();
    const MarkedName stripped = StripMarker(AddMarker(name, marker));
    EXPECT_EQ(stripped.display_name, name);
    EXPECT_EQ(stripped.marker, marker);
  }
}

TEST(Marker, HasOnlyLowerCaseLettersAndDigits) {
  for (int i = 0; i < 1000; ++i) {
    const std::string marker = MakeMarker();
    EXPECT_EQ(marker.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789"), marker.npos);
    EXPECT_TRUE(IsMarker(marker));
  }
}

TEST(Marker, IsNotMadeTwice) {
  std::set<std::string> made;
  for (int i = 0; i < 10'000; ++i) made.insert(MakeMarker());
  EXPECT_EQ(made.size(), 10'000u);
}

TEST(Marker, IsRecognisedByItsCheckCharacters) {
  const std::string marker = MakeMarker();
  int recognised = 0;
  for (size_t i = 2; i < marker.size(); ++i) {
    std::string wrong = marker;
    wrong[i] = wrong[i] == '7' ? '8' : '7';
    if (IsMarker(wrong)) ++recognised;
  }
  EXPECT_LE(recognised, 1);
}

TEST(Marker, LeavesNamesWithoutOneAlone) {
  for (const char* name : {"", "cats", "cats-fg", "fgabcdefghjkm", "cats-fgIIIIIIIIIII",
                           "-fg00000000000", "cats-fg123456789"}) {
    EXPECT_EQ(StripMarker(name).display_name, name);
    EXPECT_EQ(StripMarker(name).marker, "");
  }
  // Only the last one is ours.
  const std::string inner = MakeMarker();
  EXPECT_EQ(StripMarker(AddMarker(AddMarker("cats", inner), MakeMarker())).display_name,
            AddMarker("cats", inner));
}

TEST(Marker, CanBeSwitchedOff) { EXPECT_EQ(AddMarker("cats", ""), "cats"); }

}  // namespace
}  // namespace finetune
