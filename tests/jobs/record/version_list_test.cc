#include "server/jobs/record/version_list.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace finetune {
namespace {

struct ByRevision {
  using Key = uint64_t;
  static Key Of(const FineTuneVersion& version) { return version.revision; }
};
using List = VersionList<ByRevision>;

VersionPtr Version(uint64_t revision, const std::string& id = "") {
  auto version = std::make_shared<FineTuneVersion>();
  version->revision = revision;
  version->id = id.empty() ? std::to_string(revision) : id;
  return version;
}

List Made(const std::vector<VersionPtr>& versions) {
  List::Editor editor{List()};
  for (const VersionPtr& version : versions) editor.Insert(version);
  return std::move(editor).Take();
}

// By every way of looking at it.
void ExpectHolds(const List& list, const std::map<uint64_t, VersionPtr>& want) {
  ASSERT_EQ(list.size(), want.size());
  size_t i = 0;
  for (const auto& [key, version] : want) {
    ASSERT_EQ(list.at(i), version) << i;
    ASSERT_EQ(list.LowerBound(key), i);
    ++i;
  }
  std::vector<const FineTuneVersion*> up, down;
  list.Ascend(0, [&](const FineTuneVersion& version) { return up.push_back(&version), true; });
  list.Descend(list.size(),
               [&](const FineTuneVersion& version) { return down.push_back(&version), true; });
  ASSERT_EQ(up.size(), want.size());
  std::reverse(down.begin(), down.end());
  EXPECT_EQ(up, down);
  i = 0;
  for (const auto& [key, version] : want) ASSERT_EQ(up[i++], version.get());
}

TEST(VersionList, IsEmptyToBeginWith) {
  const List list;
  EXPECT_EQ(list.size(), 0u);
  EXPECT_EQ(list.LowerBound(0), 0u);
  list.Ascend(0, [](const FineTuneVersion&) -> bool {
    ADD_FAILURE();
    return true;
  });
  list.Descend(0, [](const FineTuneVersion&) -> bool {
    ADD_FAILURE();
    return true;
  });
}

TEST(VersionList, FindsTheFirstThatIsNotLess) {
  const List list = Made({Version(30), Version(10), Version(20)});
  EXPECT_EQ(list.LowerBound(5), 0u);
  EXPECT_EQ(list.LowerBound(20), 1u);
  EXPECT_EQ(list.LowerBound(21), 2u);
  EXPECT_EQ(list.LowerBound(31), 3u);
}

TEST(VersionList, WalksFromAnyPlaceUntilItIsToldToStop) {
  std::vector<VersionPtr> versions;
  for (uint64_t i = 0; i < 3 * List::kChunk; ++i) versions.push_back(Version(i));
  const List list = Made(versions);
  for (const size_t begin : {size_t{0}, List::kChunk - 1, List::kChunk, 2 * List::kChunk + 7}) {
    std::vector<uint64_t> seen;
    list.Ascend(begin, [&](const FineTuneVersion& version) {
      seen.push_back(version.revision);
      return seen.size() < 300;
    });
    ASSERT_EQ(seen.size(), std::min<size_t>(300, list.size() - begin));
    for (size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], begin + i);
    seen.clear();
    list.Descend(begin, [&](const FineTuneVersion& version) {
      seen.push_back(version.revision);
      return seen.size() < 300;
    });
    ASSERT_EQ(seen.size(), std::min<size_t>(300, begin));
    for (size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], begin - 1 - i);
  }
}

TEST(VersionList, AnEarlierOneStaysWhatItWas) {
  std::map<uint64_t, VersionPtr> want;
  std::vector<VersionPtr> versions;
  for (uint64_t i = 0; i < 2 * List::kChunk; ++i) {
    versions.push_back(Version(i));
    want[i] = versions.back();
  }
  const List before = Made(versions);
  List::Editor editor(before);
  editor.Erase(*versions[3]);
  editor.Replace(*versions[5], Version(5000, "5"));
  editor.Replace(*versions[7], Version(7, "7"));
  const List after = std::move(editor).Take();
  ExpectHolds(before, want);
  want.erase(3);
  want.erase(5);
  want[5000] = after.at(after.size() - 1);
  want[7] = after.at(after.LowerBound(7));
  EXPECT_NE(want[7], versions[7]);
  ExpectHolds(after, want);
}

TEST(VersionList, AgreesWithAMapOverRandomHistories) {
  std::mt19937 random(1);
  std::map<uint64_t, VersionPtr> want;
  List list;
  for (int commit = 0; commit < 60; ++commit) {
    List::Editor editor(list);
    // It grows, and then shrinks to nothing.
    const bool grows = commit < 30;
    for (int i = 0; i < 150; ++i) {
      const uint64_t key = random() % 100'000;
      const auto at = want.lower_bound(key);
      if (at != want.end() && random() % 4 == 0) {
        const VersionPtr old = at->second;
        VersionPtr moved = Version(key, old->id);
        if (want.contains(key) && at->first != key) continue;
        want.erase(at);
        want[key] = moved;
        editor.Replace(*old, std::move(moved));
      } else if (grows || random() % 5 == 0) {
        if (want.contains(key)) continue;
        want[key] = Version(key);
        editor.Insert(want[key]);
      } else if (at != want.end()) {
        editor.Erase(*at->second);
        want.erase(at);
      }
    }
    list = std::move(editor).Take();
    ExpectHolds(list, want);
  }
}

}  // namespace
}  // namespace finetune
