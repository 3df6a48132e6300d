#include "server/service/requests/create_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/service/requests/bad_fields.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsSupersetOf;

pb::CreateFineTuneRequest GoodCreate() {
  pb::CreateFineTuneRequest request;
  request.set_request_id("0f5c3f8a-1111-4222-8333-444455556666");
  pb::FineTune& job = *request.mutable_fine_tune();
  job.set_display_name("cats");
  job.set_data_source_uri("https://data.example/cats.zip?X-Sig=1");
  job.set_instance_prompt("a photo of TOK cat");
  job.set_trigger_word("TOK");
  job.set_base_model("FAST_FLUX");
  return request;
}

TEST(CreateCheck, TakesAGoodRequestAndFillsInDefaults) {
  auto job = CheckCreate(GoodCreate());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->theme(), "subject");
  EXPECT_EQ(job->visibility(), pb::FineTune::PRIVATE);
  EXPECT_EQ(job->state(), pb::FineTune::STATE_UNSPECIFIED);
}

TEST(CreateCheck, TakesEmptyParametersForNone) {
  auto request = GoodCreate();
  EXPECT_FALSE(CheckCreate(request)->has_parameters());
  request.mutable_fine_tune()->mutable_parameters()->mutable_extra();
  EXPECT_FALSE(CheckCreate(request)->has_parameters());
  request.mutable_fine_tune()->mutable_parameters()->set_face_crop(false);
  EXPECT_TRUE(CheckCreate(request)->parameters().has_face_crop());
  EXPECT_FALSE(CheckCreate(request)->parameters().has_extra());
}

TEST(CreateCheck, NamesEveryBadFieldAtOnce) {
  pb::CreateFineTuneRequest request;
  request.set_request_id("no-uuid");
  request.mutable_fine_tune()->set_data_source_uri("ftp://x");
  request.mutable_fine_tune()->mutable_parameters()->set_steps(-1);
  (*request.mutable_fine_tune()->mutable_labels())["bad key!"] = "v";
  auto& extra = *request.mutable_fine_tune()->mutable_parameters()->mutable_extra();
  (*extra.mutable_fields())["steps"].set_number_value(3);
  auto job = CheckCreate(request);
  EXPECT_EQ(ReasonOf(job.status()), pb::ErrorReason::INVALID_FIELD);
  EXPECT_THAT(
      FieldsOf(job.status()),
      IsSupersetOf({"fine_tune.display_name", "fine_tune.data_source_uri",
                    "fine_tune.instance_prompt", "fine_tune.trigger_word", "fine_tune.base_model",
                    "fine_tune.parameters.steps", "fine_tune.parameters.extra.steps",
                    "fine_tune.labels.bad key!", "request_id"}));
}

TEST(CreateCheck, IgnoresOutputOnlyFields) {
  auto request = GoodCreate();
  pb::FineTune& job = *request.mutable_fine_tune();
  job.set_name("fineTunes/mine");
  job.set_state(pb::FineTune::AVAILABLE);
  job.set_creator("someone");
  job.set_upstream_id("x");
  job.add_transitions();
  auto checked = CheckCreate(request);
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(checked->name(), "");
  EXPECT_EQ(checked->state(), pb::FineTune::STATE_UNSPECIFIED);
  EXPECT_EQ(checked->creator(), "");
  EXPECT_EQ(checked->transitions_size(), 0);
}

void SetExtra(pb::CreateFineTuneRequest& request, const std::string& name, double value) {
  auto& extra = *request.mutable_fine_tune()->mutable_parameters()->mutable_extra();
  (*extra.mutable_fields())[name].set_number_value(value);
}

google::protobuf::Map<std::string, int64_t>& Integers(pb::CreateFineTuneRequest& request) {
  return *request.mutable_fine_tune()->mutable_parameters()->mutable_integers();
}

TEST(CreateCheck, KeepsIntegersOfAnySize) {
  auto request = GoodCreate();
  Integers(request)["seed"] = 9007199254740993;
  SetExtra(request, "rank", 9007199254740991.0);
  const auto checked = CheckCreate(request);
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->parameters().integers().at("seed"), 9007199254740993);
  EXPECT_EQ(checked->parameters().extra().fields().at("rank").number_value(), 9007199254740991.0);
}

TEST(CreateCheck, RefusesOneFieldAtATime) {
  using Change = std::function<void(pb::CreateFineTuneRequest&)>;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::pair<std::string, Change>> kCases = {
      {"fine_tune.display_name",
       [](auto& r) { r.mutable_fine_tune()->set_display_name(std::string(101, 'x')); }},
      {"fine_tune.display_name", [](auto& r) { r.mutable_fine_tune()->set_display_name("a\nb"); }},
      {"fine_tune.display_name", [](auto& r) { r.mutable_fine_tune()->set_display_name("  "); }},
      {"fine_tune.data_source_uri",
       [](auto& r) { r.mutable_fine_tune()->set_data_source_uri("https://u:p@h/x.zip"); }},
      {"fine_tune.data_source_uri",
       [](auto& r) { r.mutable_fine_tune()->set_data_source_uri("https:///x.zip"); }},
      {"fine_tune.base_model", [](auto& r) { r.mutable_fine_tune()->set_base_model("flux"); }},
      {"fine_tune.theme", [](auto& r) { r.mutable_fine_tune()->set_theme("a\"b"); }},
      {"fine_tune.visibility",
       [](auto& r) {
         r.mutable_fine_tune()->set_visibility(static_cast<pb::FineTune::Visibility>(9));
       }},
      {"fine_tune.parameters.steps",
       [](auto& r) { r.mutable_fine_tune()->mutable_parameters()->set_steps(100'001); }},
      {"fine_tune.parameters.learning_rate",
       [](auto& r) { r.mutable_fine_tune()->mutable_parameters()->set_learning_rate(0); }},
      {"fine_tune.parameters.learning_rate",
       [nan](auto& r) { r.mutable_fine_tune()->mutable_parameters()->set_learning_rate(nan); }},
      {"fine_tune.parameters.finetune_type",
       [](auto& r) { r.mutable_fine_tune()->mutable_parameters()->set_finetune_type("QLORA"); }},
      {"fine_tune.parameters.extra",
       [](auto& r) {
         auto& extra = *r.mutable_fine_tune()->mutable_parameters()->mutable_extra();
         (*extra.mutable_fields())["x"].set_string_value(std::string(20'000, 'x'));
       }},
      {"fine_tune.parameters.extra.deep",
       [](auto& r) {
         auto& extra = *r.mutable_fine_tune()->mutable_parameters()->mutable_extra();
         google::protobuf::Value* value = &(*extra.mutable_fields())["deep"];
         for (int i = 0; i < 12; ++i) value = value->mutable_list_value()->add_values();
         value->set_bool_value(true);
       }},
      {"fine_tune.parameters.extra.seed", [](auto& r) { SetExtra(r, "seed", 9007199254740993.0); }},
      {"fine_tune.parameters.extra.seed", [](auto& r) { SetExtra(r, "seed", -1e30); }},
      {"fine_tune.parameters.extra.seed", [nan](auto& r) { SetExtra(r, "seed", nan); }},
      {"fine_tune.parameters.extra.seed", [](auto& r) { SetExtra(r, "seed", HUGE_VAL); }},
      {"fine_tune.parameters.extra.list",
       [](auto& r) {
         auto& extra = *r.mutable_fine_tune()->mutable_parameters()->mutable_extra();
         auto& list = *(*extra.mutable_fields())["list"].mutable_list_value();
         list.add_values()->set_number_value(9007199254740994.0);
       }},
      {"fine_tune.parameters.extra.steps", [](auto& r) { SetExtra(r, "steps", 1); }},
      {"fine_tune.parameters.integers.steps", [](auto& r) { Integers(r)["steps"] = 1; }},
      {"fine_tune.parameters.integers", [](auto& r) { Integers(r)[""] = 1; }},
      {"fine_tune.parameters.integers",
       [](auto& r) {
         for (int i = 0; i < 65; ++i) Integers(r)[absl::StrCat("k", i)] = i;
       }},
      {"fine_tune.parameters.integers.seed",
       [](auto& r) {
         Integers(r)["seed"] = 1;
         SetExtra(r, "seed", 1);
       }},
      {"fine_tune.labels",
       [](auto& r) {
         for (int i = 0; i < 65; ++i)
           (*r.mutable_fine_tune()->mutable_labels())[absl::StrCat("k", i)] = "v";
       }},
      {"request_id", [](auto& r) { r.set_request_id("123"); }},
  };
  for (const auto& [field, change] : kCases) {
    auto request = GoodCreate();
    change(request);
    auto checked = CheckCreate(request);
    ASSERT_FALSE(checked.ok()) << field;
    EXPECT_THAT(FieldsOf(checked.status()), ElementsAre(field));
  }
}

TEST(CreateCheck, NeedsNoTriggerWordForKontext) {
  auto request = GoodCreate();
  request.mutable_fine_tune()->clear_trigger_word();
  EXPECT_THAT(FieldsOf(CheckCreate(request).status()), ElementsAre("fine_tune.trigger_word"));
  request.mutable_fine_tune()->set_base_model("FLUX");
  request.mutable_fine_tune()->set_theme("KONTEXT");
  EXPECT_TRUE(CheckCreate(request).ok());
}

TEST(CreateCheck, TakesAHundredCharactersOfAnyScript) {
  auto request = GoodCreate();
  std::string name;
  for (int i = 0; i < 100; ++i) name += "猫";
  request.mutable_fine_tune()->set_display_name(name);
  EXPECT_TRUE(CheckCreate(request).ok());
}

}  // namespace
}  // namespace finetune
