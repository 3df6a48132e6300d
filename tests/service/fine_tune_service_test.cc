#include "server/service/fine_tune_service.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "tests/service/service_world.h"

namespace finetune {
namespace {

class ServiceTest : public ::testing::Test {
 protected:
  grpc::Status Get(const std::string& name, pb::FineTune* job, const std::string& who = "") {
    pb::GetFineTuneRequest request;
    request.set_name(name);
    return world_.stub->GetFineTune(Context(who).get(), request, job);
  }

  ServiceWorld world_;
};

TEST_F(ServiceTest, ACallIsASpanOfItsCallersTrace) {
  world_.Put("a");
  auto context = Context("alice");
  context->AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  context->AddMetadata("tracestate", "congo=t61rcWkgMzE");
  context->AddMetadata("tracestate", "rojo=00f067aa0ba902b7");
  pb::GetFineTuneRequest request;
  request.set_name("fineTunes/none");
  pb::FineTune job;
  EXPECT_FALSE(world_.stub->GetFineTune(context.get(), request, &job).ok());
  world_.Stop();
  const auto spans = world_.spans.Named("segmind.finetune.v1.FineTuneService/GetFineTune");
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].context.TraceId(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(spans[0].parent_id, 0x00f067aa0ba902b7u);
  ASSERT_NE(spans[0].context.state, nullptr);
  EXPECT_EQ(*spans[0].context.state, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
  EXPECT_EQ(spans[0].kind, SpanKind::kServer);
  EXPECT_EQ(AttributeOf(spans[0], "rpc.grpc.status_code"), "5");
  EXPECT_EQ(AttributeOf(spans[0], "finetune.reason"), "FINE_TUNE_NOT_FOUND");
  EXPECT_EQ(AttributeOf(spans[0], "finetune.caller"), "alice");
  EXPECT_EQ(AttributeOf(spans[0], "network.peer.address"), "127.0.0.1");
  EXPECT_FALSE(spans[0].failed);
}

TEST_F(ServiceTest, WatchesASnapshotAndWhatFollows) {
  world_.Put("a");
  auto context = Context();
  auto stream = world_.stub->WatchFineTunes(context.get(), {});
  pb::WatchFineTunesResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.change().type(), pb::Change::SNAPSHOT);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_synced());
  world_.Put("a", pb::FineTune::AVAILABLE);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.change().fine_tune().state(), pb::FineTune::AVAILABLE);
  context->TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

// Calls a method with no message's bytes, and for a stream reads to its end.
grpc::Status CallRaw(ServiceWorld& world, const google::protobuf::MethodDescriptor& method,
                     const std::string& who) {
  grpc::GenericStub stub(world.channel);
  auto context = Context(who);
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  auto call = stub.PrepareCall(
      context.get(), absl::StrCat("/", method.service()->full_name(), "/", method.name()), &queue);
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  const grpc::Slice empty;
  call->WriteLast(grpc::ByteBuffer(&empty, 1), {}, nullptr);
  queue.Next(&tag, &ok);
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  return status;
}

TEST_F(ServiceTest, NoMethodEscapesTheGate) {
  const auto* service =
      pb::WatchFineTunesRequest::descriptor()->file()->FindServiceByName("FineTuneService");
  ASSERT_EQ(service->method_count(), kMethods);
  for (int i = 0; i < service->method_count(); ++i) {
    const grpc::Status status = CallRaw(world_, *service->method(i), "nobody");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << service->method(i)->name();
    EXPECT_EQ(ReasonIn(status), "CREDENTIALS_INVALID");
  }
  for (const char* writes :
       {"CreateFineTune", "UpdateFineTune", "CreateUploadUrl", "UploadDataset"}) {
    const grpc::Status status = CallRaw(world_, *service->FindMethodByName(writes), "viewer");
    EXPECT_EQ(ReasonIn(status), "ROLE_NOT_ALLOWED") << writes;
    EXPECT_EQ(status.error_message(),
              absl::StrCat(writes, " needs the role SUBMITTER, and yours is VIEWER"));
  }
}

TEST_F(ServiceTest, RefusesBytesThatAreNoMessage) {
  grpc::GenericStub stub(world_.channel);
  auto context = Context();
  const grpc::Slice junk("\xff\xff\xff");
  const grpc::ByteBuffer request(&junk, 1);
  grpc::ByteBuffer response;
  absl::Notification done;
  grpc::Status status;
  stub.UnaryCall(context.get(), "/segmind.finetune.v1.FineTuneService/GetFineTune", {}, &request,
                 &response, [&](grpc::Status ended) {
                   status = ended;
                   done.Notify();
                 });
  done.WaitForNotification();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServiceTest, ServesCallsToTheLastWhileItDrains) {
  world_.Put("a", pb::FineTune::TRAINING);
  world_.service.Drain();
  pb::FineTune job;
  EXPECT_TRUE(Get("fineTunes/a", &job).ok());
}

TEST_F(ServiceTest, CountsCallsUnderTheEcosystemsNames) {
  pb::FineTune job;
  Get("fineTunes/none", &job);
  world_.Stop();
  double started = 0, not_found = 0;
  size_t handled_series = 0;
  for (const auto& family : world_.metrics.registry()->Collect()) {
    for (const auto& metric : family.metric) {
      std::map<std::string, std::string> labels;
      for (const auto& label : metric.label) labels[label.name] = label.value;
      if (labels["grpc_method"] != "GetFineTune") continue;
      if (family.name == "grpc_server_started_total") started = metric.counter.value;
      if (family.name != "grpc_server_handled_total") continue;
      ++handled_series;
      if (labels["grpc_code"] == "NotFound") not_found = metric.counter.value;
    }
  }
  EXPECT_EQ(started, 1);
  EXPECT_EQ(not_found, 1);
  EXPECT_EQ(handled_series, 17u);
}

}  // namespace
}  // namespace finetune
