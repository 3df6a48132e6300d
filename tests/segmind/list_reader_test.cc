#include "server/segmind/list_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "server/segmind/json_job.h"
#include "tests/segmind/samples.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

std::string Item(const std::string& id, const std::string& status) {
  return "{\"id\":\"" + id + "\",\"status\":\"" + status + "\",\"note\":\"a \\\"]}\\\\\"}";
}

std::string List(const std::vector<std::string>& items) {
  std::string list = "[";
  for (const std::string& item : items) list += (list.size() > 1 ? ", " : "") + item;
  return list + "]";
}

std::vector<std::string> Ids(const std::vector<UpstreamJob>& jobs) {
  std::vector<std::string> ids;
  for (const UpstreamJob& job : jobs) ids.push_back(job.id);
  return ids;
}

ListDelta Read(ListReader& reader, const std::string& body) {
  absl::StatusOr<ListDelta> delta = reader.Read(body);
  EXPECT_TRUE(delta.ok()) << delta.status() << body.substr(0, 200);
  return delta.ok() ? *std::move(delta) : ListDelta();
}

TEST(ListReader, TakesTheFirstListForAllChanges) {
  ListReader reader;
  const ListDelta delta = Read(reader, Sample("list.json"));
  ASSERT_EQ(delta.changed.size(), 1);
  const UpstreamJob& job = delta.changed[0];
  EXPECT_EQ(job.id, "uuid");
  EXPECT_EQ(job.status, "AVAILABLE");
  EXPECT_EQ(job.fields.train_type(), "LORA");
  EXPECT_EQ(job.is_public, false);
  EXPECT_EQ(job.cloud_storage_url, std::nullopt);
  EXPECT_EQ(job.parameters->steps(), 10);
  EXPECT_EQ(job.parameters->extra().fields().at("prompt").string_value(), "sample prompt");
  EXPECT_TRUE(job.model_information.has_value());
  EXPECT_FALSE(job.from_details);
  EXPECT_EQ(delta.total, 1);
  EXPECT_EQ(delta.skipped, 0);
  EXPECT_FALSE(delta.unchanged);
  EXPECT_TRUE(reader.Has("uuid"));
  EXPECT_FALSE(reader.Has("other"));
}

TEST(ListReader, SaysWhatChangedAndWhatIsGone) {
  ListReader reader;
  const std::string first = List({Item("a", "QUEUED"), Item("b", "QUEUED"), Item("c", "QUEUED")});
  EXPECT_THAT(Ids(Read(reader, first).changed), ElementsAre("a", "b", "c"));
  ListDelta delta = Read(reader, first);
  EXPECT_TRUE(delta.unchanged);
  EXPECT_EQ(delta.total, 3);
  EXPECT_THAT(delta.changed, IsEmpty());

  delta = Read(reader, List({Item("d", "QUEUED"), Item("c", "QUEUED"), Item("a", "FAILED")}));
  EXPECT_THAT(Ids(delta.changed), ElementsAre("d", "a"));
  EXPECT_THAT(delta.gone, ElementsAre("b"));
  EXPECT_FALSE(reader.Has("b"));

  // Other spaces and another order: nothing has changed.
  delta = Read(reader, " [ " + Item("a", "FAILED") + "\n,\t" + Item("d", "QUEUED") + "," +
                           Item("c", "QUEUED") + " ] \r\n");
  EXPECT_FALSE(delta.unchanged);
  EXPECT_THAT(delta.changed, IsEmpty());
  EXPECT_THAT(delta.gone, IsEmpty());

  delta = Read(reader, "[]");
  EXPECT_THAT(delta.gone, UnorderedElementsAre("a", "c", "d"));
  EXPECT_EQ(delta.total, 0);
}

TEST(ListReader, TakesAnItemThatWasOnlySignedAnewForTheSame) {
  const auto item = [](const std::string& id, int date, const std::string& more = "") {
    const std::string number = std::to_string(date);
    return R"({"id":")" + id + R"(","cloud_storage_url":"https:\/\/h\/w?X-Amz-Date=)" + number +
           R"(\u0026X-Amz-Signature=)" + number + more + R"(","status":"AVAILABLE"})";
  };
  ListReader reader;
  Read(reader, List({item("a", 1), item("b", 1)}));
  EXPECT_THAT(Read(reader, List({item("a", 2), item("b", 3)})).changed, IsEmpty());
  const ListDelta delta = Read(reader, List({item("a", 4, "&versionId=2"), item("b", 4)}));
  ASSERT_THAT(Ids(delta.changed), ElementsAre("a"));
  EXPECT_EQ(delta.changed[0].cloud_storage_url, "https://h/w?versionId=2");
}

TEST(ListReader, LetsTheLastOfSeveralItemsAboutOneJobCount) {
  ListReader reader;
  ListDelta delta = Read(reader, List({Item("a", "QUEUED"), Item("a", "FAILED")}));
  ASSERT_EQ(delta.changed.size(), 1);
  EXPECT_EQ(delta.changed[0].status, "FAILED");
  EXPECT_EQ(delta.total, 2);
  // The one that lost is now alone.
  delta = Read(reader, List({Item("a", "QUEUED")}));
  ASSERT_EQ(delta.changed.size(), 1);
  EXPECT_EQ(delta.changed[0].status, "QUEUED");
  EXPECT_THAT(delta.gone, IsEmpty());
  // A new one that loses against a known one.
  delta = Read(reader, List({Item("a", "AVAILABLE"), Item("a", "QUEUED")}));
  EXPECT_THAT(delta.changed, IsEmpty());
  EXPECT_THAT(delta.gone, IsEmpty());
  // A new one that wins against a known one.
  delta = Read(reader, List({Item("a", "QUEUED"), Item("a", "AVAILABLE")}));
  ASSERT_EQ(delta.changed.size(), 1);
  EXPECT_EQ(delta.changed[0].status, "AVAILABLE");
}

TEST(ListReader, TakesAListThatIsWrapped) {
  for (const std::string& wrapped :
       {"{\"finetunes\":" + List({Item("a", "QUEUED")}) + "}",
        " {\"total\" : 1 , \"anything\" : " + List({Item("a", "QUEUED")}) + ", \"next\":null } ",
        "{\"tags\":[\"x\"],\"data\":" + List({Item("a", "QUEUED")}) + ",\"w\":[{\"m\":1}]}",
        "{\"status\":\"ok\",\"data\":{\"finetunes\":" + List({Item("a", "QUEUED")}) + "}}",
        "\xef\xbb\xbf" + List({Item("a", "QUEUED")})}) {
    ListReader reader;
    EXPECT_THAT(Ids(Read(reader, wrapped).changed), ElementsAre("a")) << wrapped;
  }
}

TEST(ListReader, ReadsSeveralPagesAsOneList) {
  ListReader reader;
  const auto page = [](const std::string& id) {
    return "{\"jobs\":" + List({Item(id, "QUEUED")}) + "}";
  };
  const UpstreamList first{.bodies = {page("a"), page("b")}, .more = ""};
  ListDelta delta = *reader.Read(first);
  EXPECT_THAT(Ids(delta.changed), ElementsAre("a", "b"));
  EXPECT_TRUE(delta.whole());
  EXPECT_EQ(delta.total, 2);
  EXPECT_TRUE(reader.Read(first)->unchanged);
  delta = *reader.Read(UpstreamList{.bodies = {page("b"), page("c")}, .more = "cut"});
  EXPECT_THAT(Ids(delta.changed), ElementsAre("c"));
  EXPECT_THAT(delta.gone, ElementsAre("a"));
  EXPECT_FALSE(delta.whole());
  EXPECT_FALSE(reader.Read(UpstreamList{.bodies = {page("b"), "<html>"}, .more = ""}).ok());
}

TEST(ListReader, RefusesAListOfMoreJobsThanItMayHave) {
  ListReader reader;
  UpstreamList list{.bodies = {List({Item("a", "QUEUED"), Item("b", "QUEUED")})}, .more = ""};
  list.max_jobs = 2;
  EXPECT_TRUE(reader.Read(list).ok());
  list.bodies = {List({Item("a", "QUEUED")}), List({Item("b", "QUEUED"), Item("c", "QUEUED")})};
  const absl::Status status = reader.Read(list).status();
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::UPSTREAM_MALFORMED);
  EXPECT_NE(status.message().find("--max_listed_jobs"), absl::string_view::npos) << status;
  EXPECT_TRUE(reader.Has("a"));
}

TEST(ListReader, TellsAListThatIsNotAllOfIt) {
  ListReader reader;
  EXPECT_TRUE(Read(reader, List({Item("a", "QUEUED")})).whole());
  const std::string page = "{\"has_more\":true,\"jobs\":" + List({Item("a", "QUEUED")}) + "}";
  EXPECT_FALSE(Read(reader, page).whole());
  // Also where nothing has changed.
  const ListDelta again = Read(reader, page);
  EXPECT_TRUE(again.unchanged);
  EXPECT_FALSE(again.whole());
}

TEST(ListReader, TakesAListThatWasNeverMadeForAnEmptyOne) {
  for (const char* body : {"[]", "null", " null\n", R"({"finetunes":[]})", R"({"finetunes":null})",
                           R"({"data":null,"error":null,"count":0})"}) {
    ListReader reader;
    Read(reader, List({Item("a", "QUEUED")}));
    const ListDelta delta = Read(reader, body);
    EXPECT_EQ(delta.total, 0) << body;
    EXPECT_THAT(delta.gone, ElementsAre("a")) << body;
  }
}

TEST(ListReader, IsNotStoppedByHalfACharacter) {
  ListReader reader;
  const ListDelta delta = Read(
      reader,
      R"([{"id":"a","name":"cat \ud83d"},{"id":"b","name":"\ud83d\ud83d\udc08 \\ud83d \ud83d\udc08"}])");
  ASSERT_EQ(delta.changed.size(), 2);
  EXPECT_EQ(delta.changed[0].name, "cat \uFFFD");
  EXPECT_EQ(delta.changed[1].name, "\uFFFD\U0001F408 \\ud83d \U0001F408");
}

TEST(ListReader, LeavesOutWhatIsNoJob) {
  ListReader reader;
  const ListDelta delta = Read(reader, "[null, 3, \"x\", {\"status\":\"QUEUED\"}, [1], " +
                                           Item("a", "QUEUED") + ", true, {\"id\":1e999}]");
  EXPECT_THAT(Ids(delta.changed), ElementsAre("a"));
  EXPECT_EQ(delta.total, 8);
  EXPECT_EQ(delta.skipped, 7);
  EXPECT_EQ(delta.nameless, 2) << "those with something to tell";
}

TEST(ListReader, RefusesWhatIsNoListAndForgetsNothing) {
  ListReader reader;
  const std::string good = List({Item("a", "QUEUED"), Item("b", "QUEUED")});
  Read(reader, good);
  const std::string a = Item("a", "QUEUED");
  const std::string n = Item("n", "QUEUED");
  for (const std::string& bad :
       std::vector<std::string>{"",
                                " ",
                                "nul",
                                "null null",
                                "{\"data\":null,\"error\":\"busy\"}",
                                "{\"note\":null}",
                                "{\"error\":{\"items\":[]}}",
                                "3",
                                "\"x\"",
                                "<html>",
                                "{}",
                                "{\"error\":\"x\"}",
                                "[",
                                "[" + a,
                                "[" + a + ",",
                                "[" + a + ",]",
                                "[," + a + "]",
                                "[" + a + " " + n + "]",
                                "[" + a + ",," + n + "]",
                                "[" + a + "] x",
                                "[" + a + "]]",
                                "[" + a + "}",
                                "[" + a + ":" + n + "]",
                                "[" + a + "," + n.substr(0, n.size() / 2),
                                "[" + a + ",{\"id\":\"n\"]]",
                                "[" + a + ",{\"id\":n}]",
                                "[" + a + ",{'id':1}]",
                                "[nul]",
                                "[\"open]",
                                "[{\"error\":1}]",
                                "{\"data\":[" + a + "],\"items\":[" + a + "]}",
                                "{\"data\":[" + a + "]",
                                "{\"data\":[" + a + "]} x",
                                "{\"data\":[" + a + "],}",
                                "{data:[" + a + "]}",
                                "[" + a + "," + n + std::string(1, '\0') + "]"}) {
    const absl::StatusOr<ListDelta> delta = reader.Read(bad);
    ASSERT_FALSE(delta.ok()) << bad;
    EXPECT_EQ(delta.status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(ReasonOf(delta.status()), pb::ErrorReason::UPSTREAM_MALFORMED);
  }
  EXPECT_TRUE(Read(reader, good).unchanged);
  EXPECT_TRUE(reader.Has("a"));
}

UpstreamList Pages(const std::string& body) {
  UpstreamList pages;
  pages.bodies = {body};
  return pages;
}

TEST(ListReader, MakesTheJobsOfALongListInSlicesFromItsEnd) {
  ListReader reader;
  const UpstreamList pages = Pages(List({Item("a", "1"), Item("b", "1"), Item("c", "1"),
                                         Item("d", "1"), Item("a", "2"), Item("e", "1")}));
  const ListDelta delta = *reader.Read(pages, 2);
  EXPECT_THAT(Ids(delta.changed), ElementsAre("a", "e"));
  EXPECT_EQ(delta.changed[0].status, "2");
  EXPECT_EQ(delta.more_changed, 3);
  EXPECT_EQ(delta.total, 6);
  EXPECT_TRUE(reader.Has("b"));
  EXPECT_THAT(Ids(reader.MoreChanged(2)), ElementsAre("c", "d"));
  EXPECT_EQ(reader.more_changed(), 1);
  EXPECT_THAT(Ids(reader.MoreChanged(2)), ElementsAre("b"));
  EXPECT_THAT(reader.MoreChanged(2), IsEmpty());
  // None of the first one's is left over for the next.
  ASSERT_EQ(reader.Read(Pages(List({Item("x", "1"), Item("y", "1")})), 1)->more_changed, 1);
  ASSERT_EQ(reader.Read(Pages(List({Item("z", "1")})), 1)->more_changed, 0);
  EXPECT_THAT(reader.MoreChanged(2), IsEmpty());
}

TEST(ListReader, RefusesAListForAnItemOfWhichNoJobIsMadeYet) {
  ListReader reader;
  const std::string bad = "{\"id\":\"b\",}";
  EXPECT_FALSE(reader.Read(Pages(List({bad, Item("c", "1"), Item("d", "1")})), 1).ok());
  EXPECT_FALSE(reader.Has("d"));
  EXPECT_THAT(reader.MoreChanged(1), IsEmpty());
}

TEST(ListReader, SaysAllAgainAfterForgetAlsoWhatWasGone) {
  ListReader reader;
  Read(reader, List({Item("a", "QUEUED"), Item("b", "QUEUED"), Item("c", "QUEUED")}));
  EXPECT_THAT(Read(reader, List({Item("a", "QUEUED")})).gone, UnorderedElementsAre("b", "c"));
  reader.Forget();
  EXPECT_TRUE(reader.Has("a"));
  const ListDelta delta = Read(reader, List({Item("a", "QUEUED"), Item("c", "QUEUED")}));
  EXPECT_THAT(Ids(delta.changed), ElementsAre("a", "c"));
  EXPECT_THAT(delta.gone, ElementsAre("b"));
  EXPECT_THAT(Read(reader, List({Item("a", "QUEUED")})).gone, ElementsAre("c"));
}

TEST(ListReader, AgreesWithReadingEveryListAnewOverRandomHistories) {
  std::mt19937 random(7);
  const auto pick = [&](int n) { return static_cast<int>(random() % n); };
  for (int history = 0; history < 50; ++history) {
    ListReader reader;
    std::map<std::string, std::string> known;  // Status by id, as the deltas say.
    std::vector<std::string> items;
    for (int round = 0; round < 30; ++round) {
      for (int i = pick(4); i > 0; --i) {
        const std::string item = Item("job" + std::to_string(pick(20)), std::to_string(pick(5)));
        if (items.empty() || pick(3) == 0) {
          items.insert(items.begin() + pick(items.size() + 1), item);
        } else if (pick(3) == 0) {
          items.erase(items.begin() + pick(items.size()));
        } else {
          items[pick(items.size())] = item;
        }
      }
      if (pick(8) == 0) reader.Forget();
      const std::string body = List(items);
      const UpstreamList pages = Pages(body);
      const size_t most = pick(5);
      const ListDelta delta = *reader.Read(pages, most);
      for (const std::string& id : delta.gone) known.erase(id);
      for (const UpstreamJob& job : delta.changed) known[job.id] = job.status;
      ASSERT_EQ(reader.more_changed(), delta.more_changed);
      while (reader.more_changed() > 0)
        for (const UpstreamJob& job : reader.MoreChanged(most + 1)) known[job.id] = job.status;

      std::map<std::string, std::string> want;
      JsonParser parser;
      for (const JsonValue& value : parser.Parse(body)->GetArray())
        want[JobOf(value, Scrubber())->id] = JobOf(value, Scrubber())->status;
      ASSERT_EQ(known, want) << body;
      for (const auto& [id, status] : want) ASSERT_TRUE(reader.Has(id));
    }
  }
}

TEST(ListReader, FindsTheKeyHoweverAnItemHidesIt) {
  const std::string key = "SG_0123456789abcdef";
  UpstreamList pages;
  pages.scrubber = std::make_shared<const Scrubber>(Secret(key));
  for (const std::string& name :
       {key, "a " + key + " b", std::string("SG_01234567 89abcdef"),
        std::string("SG_01234567\\n89abcdef"),
        std::string("SG_0123456\\u0037"
                    "89abcdef"),
        std::string("SG%5f0123456789abcdef"), std::string("é SG_\u200b0123456789abcdef"),
        std::string("U0dfMDEyMzQ1Njc4OWFiY2RlZg==")}) {
    pages.bodies = {R"([{"id":"a","status":"QUEUED"},{"id":"b","name":")" + name +
                    R"(","advance_parameters":{"prompt":"a photo of )" + name + "\"}}]"};
    ListReader reader;
    std::vector<UpstreamJob> jobs = reader.Read(pages, 1)->changed;
    for (UpstreamJob& job : reader.MoreChanged(1)) jobs.push_back(std::move(job));
    ASSERT_EQ(jobs.size(), 2u);
    EXPECT_THAT(*jobs[0].name, testing::HasSubstr("[removed]")) << name;
    EXPECT_THAT(jobs[0].parameters->DebugString(), testing::HasSubstr("[removed]")) << name;
  }
}

TEST(ListReader, NeverCrashesOnHostileLists) {
  const std::string sample = Sample("list.json");
  const std::vector<Variation> variations = HostileVariations(sample);
  EXPECT_GE(variations.size(), 30);
  for (const Variation& variation : variations) {
    ListReader reader;
    Read(reader, List({Item("old", "QUEUED")}));
    const absl::StatusOr<ListDelta> delta = reader.Read(variation.body);
    if (!delta.ok()) {
      EXPECT_EQ(ReasonOf(delta.status()), pb::ErrorReason::UPSTREAM_MALFORMED) << variation.name;
      EXPECT_TRUE(reader.Has("old")) << variation.name;
      continue;
    }
    for (const UpstreamJob& job : delta->changed) {
      EXPECT_FALSE(job.id.empty()) << variation.name;
      EXPECT_TRUE(IsValidUtf8(job.id)) << variation.name;
      EXPECT_TRUE(IsValidUtf8(job.status)) << variation.name;
      EXPECT_TRUE(IsValidUtf8(job.name.value_or(""))) << variation.name;
    }
    EXPECT_THAT(delta->gone, ElementsAre("old")) << variation.name;
    ListReader sliced;
    const UpstreamList pages = Pages(variation.body);
    const absl::StatusOr<ListDelta> none = sliced.Read(pages, 0);
    ASSERT_TRUE(none.ok()) << variation.name;
    EXPECT_EQ(none->skipped, delta->skipped) << variation.name;
    EXPECT_EQ(none->nameless, delta->nameless) << variation.name;
    EXPECT_EQ(Ids(sliced.MoreChanged(1000)), Ids(delta->changed)) << variation.name;
  }
}

}  // namespace
}  // namespace finetune
