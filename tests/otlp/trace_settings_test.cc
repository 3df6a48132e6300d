#include "server/otlp/trace_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace finetune {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

class TraceSettingsTest : public ::testing::Test {
 protected:
  TraceSettings Read() { return ReadTraceSettings(environment_); }
  // What is said of the variables, "" if nothing is.
  std::string Warning() { return absl::StrJoin(Read().warnings, "; "); }

  Environment environment_;
};

TEST_F(TraceSettingsTest, AreOffWithoutAnEndpointWhateverElseIsSet) {
  environment_ = {{"OTEL_TRACES_SAMPLER", "nonsense"}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}};
  const auto settings = Read();
  EXPECT_FALSE(settings.enabled());
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "";
  EXPECT_FALSE(Read().enabled());
}

TEST_F(TraceSettingsTest, HaveTheStandardsDefaults) {
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector.tracing:4318/";
  const auto settings = Read();
  EXPECT_EQ(settings.url, "http://collector.tracing:4318/v1/traces");
  EXPECT_EQ(settings.collector, "collector.tracing:4318");
  EXPECT_TRUE(settings.sampling.follow_parent);
  EXPECT_EQ(settings.sampling.ratio, 1);
  EXPECT_EQ(settings.timeout, absl::Seconds(10));
  EXPECT_EQ(settings.schedule_delay, absl::Seconds(5));
  EXPECT_EQ(settings.max_queue, 2048u);
  EXPECT_EQ(settings.max_batch, 512u);
  EXPECT_THAT(settings.resource, Contains(Pair("service.name", "finetune-gateway")));
  EXPECT_THAT(settings.resource, Contains(Pair("service.version", FINETUNE_VERSION)));
}

TEST_F(TraceSettingsTest, TakeTheEndpointForTracesAsItIs) {
  environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://one:4318"},
                  {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://two/otlp/traces"}};
  const auto settings = Read();
  EXPECT_EQ(settings.url, "https://two/otlp/traces");
  EXPECT_EQ(settings.collector, "two:443");
}

TEST_F(TraceSettingsTest, CanBeSwitchedOffInTheStandardsWays) {
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318";
  environment_["OTEL_SDK_DISABLED"] = "TRUE";
  EXPECT_FALSE(Read().enabled());
  environment_.erase("OTEL_SDK_DISABLED");
  environment_["OTEL_TRACES_EXPORTER"] = "none";
  EXPECT_FALSE(Read().enabled());
  for (const char* with_otlp : {"otlp", "OTLP", "console, otlp"}) {
    environment_["OTEL_TRACES_EXPORTER"] = with_otlp;
    EXPECT_TRUE(Read().enabled()) << with_otlp;
  }
  EXPECT_EQ(Warning(), "");
  environment_["OTEL_TRACES_EXPORTER"] = "zipkin";
  EXPECT_FALSE(Read().enabled());
  EXPECT_THAT(Warning(), HasSubstr("OTEL_TRACES_EXPORTER: 'zipkin' is not otlp"));
}

TEST_F(TraceSettingsTest, ReadHeadersAndShowTheirValuesInNoWarning) {
  environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector"},
                  {"OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a, authorization=Bearer%20k%3Dy"}};
  const auto settings = Read();
  ASSERT_EQ(settings.headers.size(), 2u);
  EXPECT_EQ(settings.headers[1].first, "authorization");
  EXPECT_EQ(settings.headers[1].second.Reveal(), "Bearer k=y");

  for (const char* bad : {"hush-hush", "key=hush%2", "=hush", "a=hush%0d%0ax: y", "h ush=x"}) {
    environment_["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = absl::StrCat(bad, ",good=1");
    EXPECT_THAT(Warning(), HasSubstr("OTEL_EXPORTER_OTLP_TRACES_HEADERS: ")) << bad;
    EXPECT_THAT(Warning(), Not(HasSubstr("ush"))) << bad;
    const auto some = Read();
    ASSERT_EQ(some.headers.size(), 1u) << bad;
    EXPECT_EQ(some.headers[0].first, "good");
  }
}

TEST_F(TraceSettingsTest, ReadTheSampler) {
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318";
  const auto read = [&](const char* sampler, const char* argument) {
    environment_["OTEL_TRACES_SAMPLER"] = sampler;
    environment_["OTEL_TRACES_SAMPLER_ARG"] = argument;
    const auto settings = Read();
    return std::make_pair(settings.sampling.follow_parent, settings.sampling.ratio);
  };
  EXPECT_EQ(read("always_on", ""), std::make_pair(false, 1.0));
  EXPECT_EQ(read("always_off", ""), std::make_pair(false, 0.0));
  EXPECT_EQ(read("traceidratio", "0.25"), std::make_pair(false, 0.25));
  EXPECT_EQ(read("parentbased_always_on", ""), std::make_pair(true, 1.0));
  EXPECT_EQ(read("PARENTBASED_ALWAYS_OFF", ""), std::make_pair(true, 0.0));
  EXPECT_EQ(read("parentbased_traceidratio", "0.01"), std::make_pair(true, 0.01));
  EXPECT_EQ(read("parentbased_traceidratio", ""), std::make_pair(true, 1.0));
  EXPECT_EQ(Warning(), "");
  for (const char* wrong : {"1.5", "-0.1", "nan", "much"}) {
    EXPECT_EQ(read("traceidratio", wrong), std::make_pair(false, 1.0));
    EXPECT_THAT(Warning(), HasSubstr("OTEL_TRACES_SAMPLER_ARG: '")) << wrong;
  }
  for (const char* other : {"jaeger_remote", "parentbased_jaeger_remote", "xray", "on"}) {
    EXPECT_EQ(read(other, "endpoint=http://j:14250,pollingIntervalMs=5000"),
              std::make_pair(true, 1.0));
    EXPECT_THAT(Warning(), HasSubstr("using parentbased_always_on")) << other;
  }
}

TEST_F(TraceSettingsTest, ReadTheResource) {
  environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"},
                  {"OTEL_SERVICE_NAME", "tuning"},
                  {"OTEL_RESOURCE_ATTRIBUTES",
                   "service.name=other,service.instance.id=pod-0,deployment.environment=a%2Cb"}};
  const auto settings = Read();
  EXPECT_THAT(settings.resource, Contains(Pair("service.name", "tuning")));
  EXPECT_THAT(settings.resource, Contains(Pair("service.instance.id", "pod-0")));
  EXPECT_THAT(settings.resource, Contains(Pair("deployment.environment", "a,b")));
  EXPECT_EQ(settings.resource.size(), 4u);
}

TEST_F(TraceSettingsTest, AreOffWithAWarningWhereNoSpanCouldArrive) {
  const auto with = [&](const char* name, const char* value) {
    environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"}};
    environment_[name] = value;
    EXPECT_FALSE(Read().enabled()) << name << value;
    return Warning();
  };
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
              HasSubstr("OTEL_EXPORTER_OTLP_ENDPOINT: is not"));
  const std::string password = with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me:pw@host/");
  EXPECT_THAT(password, HasSubstr("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: is not"));
  EXPECT_THAT(password, Not(HasSubstr("pw@")));
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), HasSubstr("set http/json"));
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC"), HasSubstr("set http/json"));
}

TEST_F(TraceSettingsTest, UseTheDefaultWithAWarningForWhatDoesNotDo) {
  const auto with = [&](const std::string& name, const char* value) {
    environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"}, {name, value}};
    const TraceSettings settings = Read();
    EXPECT_TRUE(settings.enabled()) << name;
    EXPECT_EQ(settings.timeout, absl::Seconds(10));
    EXPECT_EQ(settings.schedule_delay, absl::Seconds(5));
    EXPECT_EQ(settings.max_queue, 2048u);
    EXPECT_EQ(settings.max_batch, 512u);
    return Warning();
  };
  EXPECT_EQ(with("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), "");
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier/pigeon"), HasSubstr("sending JSON"));
  for (const char* variable : {"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_SCHEDULE_DELAY",
                               "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"}) {
    for (const char* bad : {"5s", "0", "-1", "99999999999999999999", "junk", "\xff"})
      EXPECT_THAT(with(variable, bad), HasSubstr(absl::StrCat(variable, ": '", bad, "' is not")));
  }
  EXPECT_THAT(with("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"), HasSubstr("cannot be read"));
  EXPECT_EQ(Read().ca_file, "");
  EXPECT_THAT(with("OTEL_RESOURCE_ATTRIBUTES", "=x"), HasSubstr("OTEL_RESOURCE_ATTRIBUTES"));
}

TEST_F(TraceSettingsTest, NeverMakeABatchLargerThanTheQueue) {
  environment_ = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"},
                  {"OTEL_BSP_MAX_QUEUE_SIZE", "10"}};
  EXPECT_EQ(Read().max_batch, 10u);
}

}  // namespace
}  // namespace finetune
