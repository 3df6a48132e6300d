#include "server/jobs/record/marker.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace finetune {
namespace {

std::string Marker(int i = 0) { return MakeMarker("key", "alice", absl::StrCat("request-", i), 0); }

std::string Title(std::string text) {
  bool first = true;
  for (char& c : text) {
    const bool letter = absl::ascii_isalpha(static_cast<unsigned char>(c));
    if (letter) c = first ? absl::ascii_toupper(c) : absl::ascii_tolower(c);
    first = !letter;
  }
  return text;
}

TEST(Marker, ComesOffTheNameItWasAddedTo) {
  for (const char* name : {"cats", "a-b-c", "x", "Katzen \xc3\xbc", "fg", "-", "-x", "x-",
                           "_ -a- _", "a name that is longer than any short limit"}) {
    const std::string marker = Marker();
    const MarkedName stripped = StripMarker(AddMarker(name, marker));
    EXPECT_EQ(stripped.display_name, name);
    EXPECT_EQ(stripped.marker, marker);
    EXPECT_EQ(TraceOf(marker, AddMarker(name, marker)), MarkerTrace::kWhole);
  }
}

TEST(Marker, HasOnlyLowerCaseLettersAndDigits) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(Marker(i).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789"),
              std::string::npos);
    EXPECT_TRUE(IsMarker(Marker(i)));
  }
}

TEST(Marker, BelongsToOneAttemptOfOneRequestOfOneCaller) {
  EXPECT_EQ(MakeMarker("key", "a", "r", 0), MakeMarker("key", "a", "r", 0));
  std::set<std::string> made;
  for (int i = 0; i < 10'000; ++i) made.insert(Marker(i));
  for (const auto& other : {MakeMarker("key", "a", "r", 0), MakeMarker("yek", "a", "r", 0),
                            MakeMarker("key", "b", "r", 0), MakeMarker("key", "a", "r", 1),
                            MakeMarker("key", "ar", "", 0), MakeMarker("key", "", "ar", 0)})
    made.insert(other);
  EXPECT_EQ(made.size(), 10'006u);
}

TEST(Marker, IsRecognisedByItsCheckCharacters) {
  const std::string marker = Marker();
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
    EXPECT_EQ(TraceOf(Marker(), name), MarkerTrace::kNone);
  }
}

TEST(Marker, SurvivesWhatServicesDoToNames) {
  for (const std::string name : {"cats", "my cats-2024_v2", "a display name that is rather long"}) {
    const std::string marker = Marker();
    const std::string sent = AddMarker(name, marker);
    for (const std::string& shown :
         {absl::AsciiStrToUpper(sent), Title(sent), sent.substr(0, 20), sent + "-v1",
          absl::StrReplaceAll(sent, {{"-", "_"}}), absl::StrReplaceAll(sent, {{"-", " "}}),
          absl::StrReplaceAll(sent, {{"-", ""}, {" ", ""}, {"_", ""}}), "user7/" + sent + ".lora",
          Title(absl::StrReplaceAll(sent, {{"-", " "}})).substr(0, 20)}) {
      EXPECT_EQ(StripMarker(shown).marker, marker) << shown;
      EXPECT_EQ(TraceOf(marker, shown), MarkerTrace::kWhole) << shown;
    }
    EXPECT_EQ(TraceOf(marker, sent.substr(0, 10)),
              name == "cats" ? MarkerTrace::kNone : MarkerTrace::kPart);
  }
}

TEST(Marker, OfAnotherSubmissionIsNotTakenForThisOnes) {
  const std::string mine = Marker(1);
  const std::string other = Marker(2);
  EXPECT_EQ(TraceOf(mine, AddMarker("cats", other)), MarkerTrace::kOther);
  EXPECT_EQ(TraceOf("", AddMarker("cats", other)), MarkerTrace::kOther);
  // A caller who puts one into a display name gains nothing: the gateway's own comes first.
  const std::string sent = AddMarker(AddMarker("a longer name", mine), other);
  EXPECT_EQ(TraceOf(mine, sent), MarkerTrace::kOther);
  EXPECT_EQ(TraceOf(other, sent), MarkerTrace::kWhole);
}

TEST(Marker, CanBeSwitchedOff) { EXPECT_EQ(AddMarker("cats", ""), "cats"); }

}  // namespace
}  // namespace finetune
