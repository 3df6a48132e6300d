#include "server/jobs/filter/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "server/base/error.h"
#include "server/jobs/filter/filter_node.h"

namespace finetune {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

FineTuneVersion Job() {
  FineTuneVersion job;
  job.id = "1";
  job.state = pb::FineTune::TRAINING;
  job.visibility = pb::FineTune::PRIVATE;
  job.base_model = "FAST_FLUX";
  job.theme = "subject";
  job.creator = "spiffe://corp/team/a";
  job.display_name = "Cats and dogs";
  job.upstream_id = "up-1";
  job.create_time = absl::FromUnixSeconds(1'700'000'000);  // 2023-11-14T22:13:20Z.
  job.update_time = absl::FromUnixSeconds(1'700'000'100);
  job.instance_prompt = "a photo of sks жук on a Table";
  job.trigger_word = "sks";
  job.labels = {{"team", "vision"}, {"a.b/c", "x y"}, {"empty", ""}, {"star", "5*"}};
  return job;
}

bool Matches(std::string_view text) {
  auto filter = Filter::Parse(text);
  EXPECT_TRUE(filter.ok()) << text << ": " << filter.status();
  return filter.ok() && (*filter)->Matches(Job());
}

TEST(Filter, MatchesWhatItSays) {
  for (std::string_view text : {
           "",
           "   ",
           "state=TRAINING",
           "state = TRAINING",
           "state:TRAINING",
           "state = \"TRAINING\"",
           "state = training",
           "state:Training",
           "visibility = private",
           "cats",
           "DOGS",
           "\"s AND d\"",
           "cats dogs",
           "cats AND state = TRAINING",
           "(hamsters OR cats) -hamsters",
           "NOT hamsters",
           "table",
           "\"ЖУК\"",
           "sks",
           "flux",
           "corp",
           "vision",
           "*",
           "5*",
           "state != FAILED",
           "state:*",
           "visibility = PRIVATE",
           "base_model = FAST_FLUX",
           "base_model = FAST_*",
           "base_model = \"*FLUX\"",
           "base_model = *AST_FL*",
           "base_model = *",
           "base_model != FLUX*",
           "base_model:FLUX",
           "base_model > FAST",
           "base_model <= FAST_FLUX",
           "theme = 'subject'",
           "creator = spiffe://corp/team/a",
           "creator=\"spiffe://corp/*\"",
           "display_name = \"Cats and dogs\"",
           "display_name:and",
           "display_name:\"s a\"",
           "upstream_id = up-1",
           "create_time = 2023-11-14T22:13:20Z",
           "create_time >= \"2023-11-14T22:13:20Z\"",
           "create_time < 2023-11-14T23:13:20.5+00:30",
           "update_time > \"2023-11-14T22:13:20Z\"",
           "labels.team = vision",
           "labels.team:vis",
           "labels.team:*",
           "labels.team=vis*",
           "labels:team",
           "labels:\"a.b/c\"",
           "labels.\"a.b/c\" = \"x y\"",
           "labels.a.b/c = 'x y'",
           "labels.empty:*",
           "labels.empty = \"\"",
           "labels.none != x",
           "NOT labels.none:*",
           "labels.star = \"5\\*\"",
           "-state=FAILED",
           "- (state=FAILED OR state=LOST)",
           "NOT state=FAILED",
           "NOT(state=FAILED)",
           "state=TRAINING AND theme=subject",
           "state=TRAINING theme=subject",
           "(state=TRAINING)",
           "((state=TRAINING))",
           "state=FAILED OR state=TRAINING",
           "state=TRAINING AND theme=x OR theme=subject",
           "state=TRAINING\n\tAND\r\ntheme=subject",
       }) {
    EXPECT_TRUE(Matches(text)) << text;
  }
}

TEST(Filter, DoesNotMatchAnythingElse) {
  for (std::string_view text : {
           "state=FAILED",
           "state!=TRAINING",
           "visibility=PUBLIC",
           "base_model = FAST",
           "base_model = fast_flux",
           "base_model:flux",
           "base_model = \"FAST_\\*\"",
           "base_model < FAST",
           "theme = \"\"",
           "labels.team = \"\"",
           "labels.none:*",
           "labels:none",
           "labels.none < z",
           "labels.star = \"\\*5\"",
           "create_time > 2023-11-14T22:13:20Z",
           "NOT state=TRAINING",
           "-state=TRAINING",
           "state=TRAINING AND theme=x",
           "state=TRAINING theme=x",
           // OR binds tighter than AND: (FAILED or TRAINING) and (theme x).
           "state=FAILED OR state=TRAINING AND theme=x",
           "state=TRAINING OR state=FAILED theme=x",
       }) {
    EXPECT_FALSE(Matches(text)) << text;
  }
}

TEST(Filter, SaysWhereItIsWrongAndWhatWasExpected) {
  const std::pair<std::string, std::string> cases[] = {
      {"state!", "at position 6: expected one of the operators"},
      {"state=", "at position 7: expected a value"},
      {"state=RUNNING", "at position 7: expected one of SUBMIT_UNKNOWN, QUEUED, PREPARING"},
      {"state=T*", "expected one of"},
      {"state<TRAINING", "at position 6: expected =, != or :"},
      {"visibility=SECRET", "expected one of PRIVATE, PUBLIC"},
      {"status=TRAINING", "at position 1: expected upstream_id, display_name"},
      {"name=x", "expected upstream_id, display_name"},
      {"\"hello\" = 1", "at position 1: expected upstream_id"},
      {"NOT NOT hello", "at position 5: expected upstream_id"},
      {"create_time > yesterday", "at position 15: expected a time"},
      {"create_time > infinite-future", "expected a time"},
      {"labels.=x", "at position 8: expected a label's key"},
      {"labels=x", "at position 7: expected labels.KEY"},
      {"labels.\"\"=x", "expected a label's key"},
      {"theme < a*", "expected a value without *"},
      {"(state=FAILED", "at position 14: expected ')'"},
      {"state=FAILED)", "at position 13: expected AND, OR or the end"},
      {"()", "at position 2: expected upstream_id"},
      {"state=FAILED AND", "at position 17: expected upstream_id"},
      {"state=FAILED OR", "at position 16: expected upstream_id"},
      {"AND state=FAILED", "at position 1: expected upstream_id"},
      {"NOT", "at position 4: expected upstream_id"},
      {"theme=\"open", "at position 7: expected an end of the quotation"},
      {"theme=\"open\\", "at position 7: expected an end of the quotation"},
      {"theme = a = b", "at position 11: expected upstream_id"},
      {std::string(2001, ' '), "2000 bytes"},
      {std::string(51, '(') + "state=FAILED" + std::string(51, ')'), "50 levels"},
  };
  for (const auto& [text, expected] : cases) {
    const absl::Status status = Filter::Parse(text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_EQ(ReasonOf(status), pb::ErrorReason::INVALID_FIELD) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected)) << text;
  }
  EXPECT_TRUE(Filter::Parse(std::string(50, '(') + "state=FAILED" + std::string(50, ')')).ok());
}

TEST(Filter, HasOneKeyForAllTextsThatMeanTheSame) {
  const auto key = [](std::string_view text) { return (*Filter::Parse(text))->key(); };
  EXPECT_EQ(key("state=FAILED AND theme=a"), key("theme = \"a\" (state:FAILED)"));
  EXPECT_EQ(key("state=FAILED OR state=LOST"), key("(state='LOST') OR (state=FAILED)"));
  EXPECT_EQ(key("NOT (-theme=a)"), key("theme=a"));
  EXPECT_EQ(key("create_time>2023-11-14T22:13:20Z"), key("create_time>2023-11-14T23:13:20+01:00"));
  EXPECT_NE(key("theme=a*"), key("theme=\"a\\*\""));
  EXPECT_NE(key("labels.a=b"), key("labels.b=a"));
  EXPECT_NE(key("theme=a"), key("theme:a"));
  EXPECT_EQ(key(" "), "");
  EXPECT_TRUE((*Filter::Parse(""))->matches_all());
  EXPECT_FALSE((*Filter::Parse("theme=*"))->matches_all());
}

TEST(Filter, IsIndexedByItsMostSelectiveEquality) {
  const auto index_key = [](std::string_view text) { return (*Filter::Parse(text))->index_key(); };
  const std::vector<std::string> keys = IndexKeysOf(Job());
  for (std::string_view text :
       {"state=TRAINING", "visibility=PRIVATE", "base_model=FAST_FLUX", "theme=subject",
        "creator=spiffe://corp/team/a", "display_name='Cats and dogs'", "upstream_id=up-1",
        "labels.team=vision", "labels.empty=''", "state:TRAINING AND theme:sub",
        "state!=FAILED AND labels.'a.b/c'='x y'"}) {
    ASSERT_TRUE(index_key(text).has_value()) << text;
    EXPECT_THAT(keys, Contains(*index_key(text))) << text;
  }
  EXPECT_EQ(index_key("state=TRAINING AND upstream_id=up-1"), index_key("upstream_id=up-1"));
  for (std::string_view text :
       {"", "state!=FAILED", "theme=a*", "theme:a", "labels.a:*", "state=FAILED OR state=LOST",
        "NOT state=FAILED", "create_time=2023-11-14T22:13:20Z"}) {
    EXPECT_EQ(index_key(text), std::nullopt) << text;
  }
}

// Gives a version a value in the member that a field keeps, and says it as a filter does.
struct SampleIn {
  FineTuneVersion& version;

  std::string operator()(std::string FineTuneVersion::*member) const {
    return version.*member = "sample";
  }
  std::string operator()(absl::Time FineTuneVersion::*member) const {
    version.*member = absl::FromUnixSeconds(1'700'000'000);
    return "2023-11-14T22:13:20Z";
  }
  std::string operator()(absl::btree_map<std::string, std::string> FineTuneVersion::*member) const {
    return (version.*member)["sample"] = "sample";
  }
  std::string operator()(pb::FineTune::State FineTuneVersion::*member) const {
    return pb::FineTune::State_Name(version.*member = pb::FineTune::TRAINED);
  }
  std::string operator()(pb::FineTune::Visibility FineTuneVersion::*member) const {
    return pb::FineTune::Visibility_Name(version.*member = pb::FineTune::PUBLIC);
  }
};

TEST(Filter, ComparesEachFieldThatAVersionKeepsForIt) {
  for (const FilterField& field : FilterFields()) {
    FineTuneVersion version;
    const std::string value = std::visit(SampleIn{version}, field.compared->member);
    const std::string name =
        std::string(field.name) + (field.kind == FilterField::Kind::kLabel ? ".sample" : "");
    const auto equal = Filter::Parse(name + "=" + value);
    ASSERT_TRUE(equal.ok()) << equal.status();
    EXPECT_TRUE((*equal)->Matches(version)) << name;
    EXPECT_FALSE((*equal)->Matches(FineTuneVersion())) << name;
    if (field.kind != FilterField::Kind::kTime)
      EXPECT_THAT(IndexKeysOf(version), Contains((*equal)->index_key())) << name;
  }
}

TEST(Filter, WithCreatorHoldsACallerToItsOwnJobs) {
  FilterPtr own = Filter::WithCreator(*Filter::Parse("state=TRAINING OR state=FAILED"), "*");
  EXPECT_FALSE(own->Matches(Job())) << "a name is no pattern here";
  own =
      Filter::WithCreator(*Filter::Parse("state=TRAINING OR state=FAILED"), "spiffe://corp/team/a");
  EXPECT_TRUE(own->Matches(Job()));
  FineTuneVersion other = Job();
  other.creator = "spiffe://corp/team/b";
  EXPECT_FALSE(own->Matches(other));
  EXPECT_FALSE(Filter::WithCreator(nullptr, "x")->matches_all());
  EXPECT_FALSE(Filter::WithCreator(*Filter::Parse(""), "x")->Matches(Job()));
  EXPECT_TRUE(own->index_key().has_value());
}

TEST(Filter, SurvivesAnyText) {
  const std::string_view pieces[] = {
      "state", "=",      "TRAINING", "(",    ")", "AND ", "OR ",         "NOT ",
      "-",     "\"",     "'",        "\\",   "*", ":",    "!=",          "<",
      ">=",    "labels", ".",        "team", " ", "\xff", "create_time", "2023-11-14T22:13:20Z",
      "theme", "a",      "\t"};
  std::mt19937 random(7);
  int good = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) text += pieces[random() % std::size(pieces)];
    auto filter = Filter::Parse(text);
    if (!filter.ok()) continue;
    ++good;
    const bool matches = (*filter)->Matches(Job());
    if (auto key = (*filter)->index_key(); key && matches) {
      EXPECT_THAT(IndexKeysOf(Job()), Contains(*key)) << text;
    }
  }
  EXPECT_GT(good, 100);
}

}  // namespace
}  // namespace finetune
