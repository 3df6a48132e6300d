#include "server/otlp/trace_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace finetune {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

class TraceSettingsTest : public ::testing::Test {
 protected:
  absl::StatusOr<TraceSettings> Read() {
    return ReadTraceSettings([this](const std::string& name) -> const char* {
      const auto found = environment_.find(name);
      return found == environment_.end() ? nullptr : found->second.c_str();
    });
  }
  std::string Error() {
    const auto settings = Read();
    return settings.ok() ? "" : std::string(settings.status().message());
  }

  std::map<std::string, std::string> environment_;
};

TEST_F(TraceSettingsTest, AreOffWithoutAnEndpointWhateverElseIsSet) {
  environment_ = {{"OTEL_TRACES_SAMPLER", "nonsense"}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}};
  const auto settings = Read();
  ASSERT_TRUE(settings.ok());
  EXPECT_FALSE(settings->enabled());
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "";
  EXPECT_FALSE(Read()->enabled());
}

TEST_F(TraceSettingsTest, HaveTheStandardsDefaults) {
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector.tracing:4318/";
  const auto settings = Read();
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->url, "http://collector.tracing:4318/v1/traces");
  EXPECT_EQ(settings->collector, "collector.tracing:4318");
  EXPECT_TRUE(settings->sampling.follow_parent);
  EXPECT_EQ(settings->sampling.ratio, 1);
  EXPECT_EQ(settings->timeout, absl::Seconds(10));
  EXPECT_EQ(settings->schedule_delay, absl::Seconds(5));
  EXPECT_EQ(settings->max_queue, 2048u);
  EXPECT_EQ(settings->max_batch, 512u);
  EXPECT_THAT(settings->resource, Contains(Pair("service.name", "finetune-gateway")));
  EXPECT_THAT(settings->resource, Contains(Pair("service.version", FINETUNE_VERSION)));
}

TEST_F(TraceSettingsTest, TakeTheEndpointForTracesAsItIs) {
  environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://one:4318"},
                  {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://two/otlp/traces"}};
  const auto settings = Read();
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->url, "https://two/otlp/traces");
  EXPECT_EQ(settings->collector, "two:443");
}

TEST_F(TraceSettingsTest, CanBeSwitchedOffInTheStandardsWays) {
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318";
  environment_["OTEL_SDK_DISABLED"] = "TRUE";
  EXPECT_FALSE(Read()->enabled());
  environment_.erase("OTEL_SDK_DISABLED");
  environment_["OTEL_TRACES_EXPORTER"] = "none";
  EXPECT_FALSE(Read()->enabled());
  environment_["OTEL_TRACES_EXPORTER"] = "otlp";
  EXPECT_TRUE(Read()->enabled());
}

TEST_F(TraceSettingsTest, ReadHeadersAndShowTheirValuesInNoError) {
  environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector"},
                  {"OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a, authorization=Bearer%20k%3Dy"}};
  const auto settings = Read();
  ASSERT_TRUE(settings.ok()) << settings.status();
  ASSERT_EQ(settings->headers.size(), 2u);
  EXPECT_EQ(settings->headers[1].first, "authorization");
  EXPECT_EQ(settings->headers[1].second.Reveal(), "Bearer k=y");

  environment_["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = "hush-hush";
  EXPECT_THAT(Error(), HasSubstr("OTEL_EXPORTER_OTLP_TRACES_HEADERS: must be KEY=VALUE"));
  EXPECT_THAT(Error(), Not(HasSubstr("hush")));
  environment_["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = "key=hush%2";
  EXPECT_THAT(Error(), HasSubstr("percent-encoded"));
  EXPECT_THAT(Error(), Not(HasSubstr("hush")));
}

TEST_F(TraceSettingsTest, ReadTheSampler) {
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318";
  const auto read = [&](const char* sampler, const char* argument) {
    environment_["OTEL_TRACES_SAMPLER"] = sampler;
    environment_["OTEL_TRACES_SAMPLER_ARG"] = argument;
    const auto settings = Read();
    EXPECT_TRUE(settings.ok()) << settings.status();
    return std::make_pair(settings->sampling.follow_parent, settings->sampling.ratio);
  };
  EXPECT_EQ(read("always_on", ""), std::make_pair(false, 1.0));
  EXPECT_EQ(read("always_off", ""), std::make_pair(false, 0.0));
  EXPECT_EQ(read("traceidratio", "0.25"), std::make_pair(false, 0.25));
  EXPECT_EQ(read("parentbased_always_on", ""), std::make_pair(true, 1.0));
  EXPECT_EQ(read("parentbased_always_off", ""), std::make_pair(true, 0.0));
  EXPECT_EQ(read("parentbased_traceidratio", "0.01"), std::make_pair(true, 0.01));
  EXPECT_EQ(read("parentbased_traceidratio", ""), std::make_pair(true, 1.0));
  for (const char* wrong : {"1.5", "-0.1", "nan", "much"}) {
    environment_["OTEL_TRACES_SAMPLER_ARG"] = wrong;
    EXPECT_THAT(Error(), HasSubstr("OTEL_TRACES_SAMPLER_ARG: '")) << wrong;
  }
  environment_["OTEL_TRACES_SAMPLER"] = "jaeger_remote";
  EXPECT_THAT(Error(), HasSubstr("OTEL_TRACES_SAMPLER: 'jaeger_remote' is not"));
}

TEST_F(TraceSettingsTest, ReadTheResource) {
  environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"},
                  {"OTEL_SERVICE_NAME", "tuning"},
                  {"OTEL_RESOURCE_ATTRIBUTES",
                   "service.name=other,service.instance.id=pod-0,deployment.environment=a%2Cb"}};
  const auto settings = Read();
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_THAT(settings->resource, Contains(Pair("service.name", "tuning")));
  EXPECT_THAT(settings->resource, Contains(Pair("service.instance.id", "pod-0")));
  EXPECT_THAT(settings->resource, Contains(Pair("deployment.environment", "a,b")));
  EXPECT_EQ(settings->resource.size(), 4u);
}

TEST_F(TraceSettingsTest, SayWhichVariableIsWrong) {
  const auto with = [&](const char* name, const char* value) {
    environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"}};
    environment_[name] = value;
    return Error();
  };
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
              HasSubstr("OTEL_EXPORTER_OTLP_ENDPOINT: is not"));
  const std::string password = with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me:pw@host/");
  EXPECT_THAT(password, HasSubstr("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: is not"));
  EXPECT_THAT(password, Not(HasSubstr("pw@")));
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), HasSubstr("use http/json"));
  EXPECT_EQ(with("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), "");
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"), HasSubstr("OTEL_EXPORTER_OTLP_TIMEOUT"));
  EXPECT_THAT(with("OTEL_BSP_SCHEDULE_DELAY", "0"), HasSubstr("OTEL_BSP_SCHEDULE_DELAY"));
  EXPECT_THAT(with("OTEL_BSP_MAX_QUEUE_SIZE", "-1"), HasSubstr("OTEL_BSP_MAX_QUEUE_SIZE"));
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"), HasSubstr("cannot be read"));
  EXPECT_THAT(with("OTEL_RESOURCE_ATTRIBUTES", "=x"), HasSubstr("OTEL_RESOURCE_ATTRIBUTES"));
}

TEST_F(TraceSettingsTest, NeverMakeABatchLargerThanTheQueue) {
  environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"},
                  {"OTEL_BSP_MAX_QUEUE_SIZE", "10"}};
  EXPECT_EQ(Read()->max_batch, 10u);
}

}  // namespace
}  // namespace finetune
