#include "server/service/calls/call_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "prometheus/text_serializer.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/base/error.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MethodMetricsTest : public ::testing::Test {
 protected:
  static const google::protobuf::MethodDescriptor& MethodOf(const char* name) {
    return *pb::GetFineTuneRequest::descriptor()
                ->file()
                ->FindServiceByName("FineTuneService")
                ->FindMethodByName(name);
  }
  std::string Scrape() {
    return prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
  }
  Metrics metrics_;
};

TEST_F(MethodMetricsTest, AreAllThereFromTheStart) {
  const MethodMetrics get(metrics_, MethodOf("GetFineTune"));
  const std::string labels =
      "grpc_method=\"GetFineTune\",grpc_service=\"segmind.finetune.v1.FineTuneService\","
      "grpc_type=\"unary\"";
  const std::string scrape = Scrape();
  EXPECT_THAT(scrape, HasSubstr("grpc_server_started_total{" + labels + "} 0"));
  for (const char* code : {"OK", "Canceled", "Unavailable", "Unauthenticated"})
    EXPECT_THAT(scrape, HasSubstr("grpc_server_handled_total{grpc_code=\"" + std::string(code) +
                                  "\"," + labels + "} 0"));
}

TEST_F(MethodMetricsTest, CountByCodeAndTakeACodeThatIsNoneForUnknown) {
  MethodMetrics get(metrics_, MethodOf("GetFineTune"));
  get.OnHandled(absl::StatusCode::kNotFound, absl::Milliseconds(3));
  for (const int code : {2, 17, -1, 1000})
    get.OnHandled(static_cast<absl::StatusCode>(code), absl::ZeroDuration());
  const std::string scrape = Scrape();
  EXPECT_THAT(scrape, HasSubstr("{grpc_code=\"NotFound\",grpc_method=\"GetFineTune\""));
  EXPECT_THAT(scrape, HasSubstr("grpc_server_handled_total{grpc_code=\"Unknown\",grpc_method="
                                "\"GetFineTune\",grpc_service=\"segmind.finetune.v1."
                                "FineTuneService\",grpc_type=\"unary\"} 4"));
  EXPECT_THAT(scrape, HasSubstr("grpc_server_handling_seconds_count"));
}

TEST_F(MethodMetricsTest, NameTheKindOfTheMethod) {
  MethodMetrics watch(metrics_, MethodOf("WatchFineTunes"));
  watch.OnHandled(absl::StatusCode::kOk, absl::Hours(3));
  const std::string scrape = Scrape();
  EXPECT_THAT(scrape, HasSubstr("grpc_type=\"server_stream\""));
  // How long a stream lasts says nothing.
  EXPECT_THAT(scrape, Not(HasSubstr("grpc_server_handling_seconds")));
}

TEST_F(MethodMetricsTest, OfMethodsThatThereAreNotAreOneSeries) {
  MethodMetrics unknown(metrics_);
  unknown.OnStarted();
  unknown.OnReceived(2);
  unknown.OnSent();
  const std::string scrape = Scrape();
  const std::string labels =
      "{grpc_method=\"unknown\",grpc_service=\"unknown\",grpc_type=\"unary\"}";
  EXPECT_THAT(scrape, HasSubstr("grpc_server_started_total" + labels + " 1"));
  EXPECT_THAT(scrape, HasSubstr("grpc_server_msg_received_total" + labels + " 2"));
  EXPECT_THAT(scrape, HasSubstr("grpc_server_msg_sent_total" + labels + " 1"));
}

}  // namespace
}  // namespace finetune
