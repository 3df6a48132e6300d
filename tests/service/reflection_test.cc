#include "server/service/reflection.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpc/reflection/v1/reflection.grpc.pb.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <segmind/finetune/v1/fine_tune_service.grpc.pb.h>

namespace finetune {
namespace {

namespace v1 = ::grpc::reflection::v1;

class ReflectionTest : public testing::Test {
 protected:
  ReflectionTest() {
    grpc::ServerBuilder builder;
    builder.SetOption(MakeReflectionOption());
    builder.RegisterService(&service_);
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    server_ = builder.BuildAndStart();
    stub_ = v1::ServerReflection::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                                              grpc::InsecureChannelCredentials()));
    stream_ = stub_->ServerReflectionInfo(&context_);
  }
  ~ReflectionTest() override {
    stream_->WritesDone();
    stream_->Finish();
    server_->Shutdown();
  }

  v1::ServerReflectionResponse Ask(const v1::ServerReflectionRequest& request) {
    v1::ServerReflectionResponse response;
    EXPECT_TRUE(stream_->Write(request) && stream_->Read(&response));
    return response;
  }

  static std::vector<std::string> FilesIn(const v1::ServerReflectionResponse& response) {
    std::vector<std::string> names;
    for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      EXPECT_TRUE(file.ParseFromString(bytes));
      names.push_back(file.name());
    }
    return names;
  }

  segmind::finetune::v1::FineTuneService::Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::ServerReflection::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::ServerReflectionRequest, v1::ServerReflectionResponse>>
      stream_;
};

TEST_F(ReflectionTest, ListsTheServices) {
  v1::ServerReflectionRequest request;
  request.set_list_services("");
  const auto response = Ask(request).list_services_response();
  std::vector<std::string> names;
  for (const auto& service : response.service()) names.push_back(service.name());
  EXPECT_THAT(names, testing::IsSupersetOf({"segmind.finetune.v1.FineTuneService",
                                            "grpc.reflection.v1.ServerReflection"}));
}

TEST_F(ReflectionTest, TellsAFileWithItsImportsOnce) {
  v1::ServerReflectionRequest request;
  request.set_file_containing_symbol("segmind.finetune.v1.FineTuneService.CreateFineTune");
  EXPECT_THAT(FilesIn(Ask(request)),
              testing::IsSupersetOf({"segmind/finetune/v1/fine_tune_service.proto",
                                     "segmind/finetune/v1/fine_tune.proto",
                                     "google/protobuf/timestamp.proto"}));
  request.set_file_by_filename("segmind/finetune/v1/fine_tune.proto");
  EXPECT_THAT(FilesIn(Ask(request)), testing::ElementsAre("segmind/finetune/v1/fine_tune.proto"));
}

TEST_F(ReflectionTest, SaysWhatThereIsNot) {
  v1::ServerReflectionRequest request;
  for (const std::string& name : {"", "no.Such", "segmind..", "\xf0\x9f\x90\x88"}) {
    request.set_file_containing_symbol(name);
    EXPECT_EQ(Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND) << name;
  }
  request.set_all_extension_numbers_of_type("no.Such");
  EXPECT_EQ(Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.mutable_file_containing_extension()->set_containing_type("google.protobuf.FieldOptions");
  EXPECT_EQ(Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.clear_message_request();
  EXPECT_EQ(Ask(request).error_response().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ReflectionTest, KnowsAMessageWithoutExtensions) {
  v1::ServerReflectionRequest request;
  request.set_all_extension_numbers_of_type("segmind.finetune.v1.FineTune");
  const auto response = Ask(request).all_extension_numbers_response();
  EXPECT_EQ(response.base_type_name(), "segmind.finetune.v1.FineTune");
  EXPECT_EQ(response.extension_number_size(), 0);
}

}  // namespace
}  // namespace finetune
