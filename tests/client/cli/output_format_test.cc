#include "client/cli/output_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune::cli {
namespace {

using testing::HasSubstr;

constexpr char kJob[] =
    R"({"name":"fineTunes/a","state":"TRAINING","labels":{"team":"art","a.b":"c"},"revision":"7",)"
    R"("parameters":{"steps":500,"faceCrop":true},"transitions":[{"state":"QUEUED"},)"
    R"({"state":"TRAINING","time":"2026-01-01T00:00:00Z"}],"displayName":"a: \"b\"\n"})";

std::string Written(const std::string& format) {
  const auto parsed = OutputFormat::Parse(format);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? parsed->Write(kJob, true) : "";
}

TEST(OutputFormatTest, YamlIsWhatTheJsonSays) {
  EXPECT_EQ(Written("yaml"),
            "name: fineTunes/a\n"
            "state: TRAINING\n"
            "labels:\n"
            "  team: art\n"
            "  a.b: c\n"
            "revision: \"7\"\n"
            "parameters:\n"
            "  steps: 500\n"
            "  faceCrop: true\n"
            "transitions:\n"
            "  - state: QUEUED\n"
            "  - state: TRAINING\n"
            "    time: \"2026-01-01T00:00:00Z\"\n"
            "displayName: \"a: \\\"b\\\"\\n\"\n");
  EXPECT_EQ(OutputFormat::Parse("yaml")->Write("{}", false), "---\n{}\n");
}

TEST(OutputFormatTest, PathsReachEveryValue) {
  EXPECT_EQ(Written("jsonpath={.name}"), "fineTunes/a\n");
  EXPECT_EQ(Written("jsonpath=.parameters.steps"), "500\n");
  EXPECT_EQ(Written("jsonpath={.labels['a.b']}/{.labels.team}"), "c/art\n");
  EXPECT_EQ(Written("jsonpath={.transitions[0].state},{.transitions[-1].state}"),
            "QUEUED,TRAINING\n");
  EXPECT_EQ(Written("jsonpath={.transitions[*].state}"), "QUEUED TRAINING\n");
  EXPECT_EQ(Written("jsonpath={range .transitions[*]}<{.state}>{\"\\t\"}{end}{.name}"),
            "<QUEUED>\t<TRAINING>\tfineTunes/a\n");
  EXPECT_EQ(Written("jsonpath={.labels}"), "{\"team\":\"art\",\"a.b\":\"c\"}\n");
  EXPECT_EQ(Written("jsonpath={.none.deeper[3]}"), "");
  EXPECT_EQ(Written("jsonpath={.}"), std::string(kJob) + "\n");
}

TEST(OutputFormatTest, TemplatesAreTextWithPaths) {
  EXPECT_EQ(Written("template={{.name}} is {{ .state }}\\n"), "fineTunes/a is TRAINING\n");
  EXPECT_EQ(Written("template={braces} {{.state}}"), "{braces} TRAINING\n");
  EXPECT_EQ(Written("name"), "fineTunes/a\n");
}

TEST(OutputFormatTest, WhatCannotBeReadIsToldBeforeAnyCall) {
  for (const char* bad : {"xml", "", "jsonpath={.name", "jsonpath={name}", "jsonpath={.a[}",
                          "jsonpath={.a[b]}", "template={{.name", "template={{name}}"})
    EXPECT_FALSE(OutputFormat::Parse(bad).ok()) << bad;
  EXPECT_THAT(std::string(OutputFormat::Parse("xml").status().message()),
              HasSubstr("jsonpath=PATH"));
}

TEST(JsonTreeTest, WhatIsNoJsonIsRefused) {
  for (const char* bad : {"", "{", "[1,", "{\"a\"}", "\"x", "nul", "{} {}", "{\"a\":}"})
    EXPECT_FALSE(ParseJsonTree(bad).ok()) << bad;
  EXPECT_FALSE(ParseJsonTree(std::string(100'000, '[')).ok());
  EXPECT_EQ(ParseJsonTree("\"\\u00e9\\\"\"")->text, "é\"");
}

}  // namespace
}  // namespace finetune::cli
