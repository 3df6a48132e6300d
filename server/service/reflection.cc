#include "server/service/reflection.h"

#ifdef FINETUNE_REFLECTION_V1

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpc/reflection/v1/reflection.grpc.pb.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/impl/server_initializer.h>

#include <set>
#include <string>
#include <vector>

namespace finetune {
namespace {

namespace v1 = ::grpc::reflection::v1;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using Stream = grpc::ServerReaderWriter<v1::ServerReflectionResponse, v1::ServerReflectionRequest>;

// The files that a stream has been sent.
using Sent = std::set<const FileDescriptor*>;

void AddFile(const FileDescriptor* file, Sent& sent, v1::FileDescriptorResponse& response) {
  if (!sent.insert(file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file->CopyTo(&proto);
  response.add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) AddFile(file->dependency(i), sent, response);
}

class Service : public v1::ServerReflection::Service {
 public:
  void SetServices(std::vector<std::string> services) { services_ = std::move(services); }

  grpc::Status ServerReflectionInfo(grpc::ServerContext*, Stream* stream) override {
    Sent sent;
    v1::ServerReflectionRequest request;
    while (stream->Read(&request)) {
      if (!stream->Write(Answer(request, sent))) break;
    }
    return grpc::Status::OK;
  }

 private:
  v1::ServerReflectionResponse Answer(const v1::ServerReflectionRequest& request,
                                      Sent& sent) const {
    v1::ServerReflectionResponse response;
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
    switch (request.message_request_case()) {
      case v1::ServerReflectionRequest::kListServices:
        for (const std::string& service : services_)
          response.mutable_list_services_response()->add_service()->set_name(service);
        break;
      case v1::ServerReflectionRequest::kFileByFilename:
        TakeFile(pool_.FindFileByName(request.file_by_filename()), sent, response);
        break;
      case v1::ServerReflectionRequest::kFileContainingSymbol:
        TakeFile(pool_.FindFileContainingSymbol(request.file_containing_symbol()), sent, response);
        break;
      case v1::ServerReflectionRequest::kFileContainingExtension: {
        const auto& wanted = request.file_containing_extension();
        const auto* type = pool_.FindMessageTypeByName(wanted.containing_type());
        const auto* extension = type == nullptr
                                    ? nullptr
                                    : pool_.FindExtensionByNumber(type, wanted.extension_number());
        TakeFile(extension == nullptr ? nullptr : extension->file(), sent, response);
        break;
      }
      case v1::ServerReflectionRequest::kAllExtensionNumbersOfType:
        TakeExtensions(request.all_extension_numbers_of_type(), response);
        break;
      default:
        Refuse(grpc::StatusCode::INVALID_ARGUMENT, "nothing is asked for", response);
    }
    return response;
  }

  static void Refuse(grpc::StatusCode code, const std::string& why,
                     v1::ServerReflectionResponse& response) {
    response.mutable_error_response()->set_error_code(code);
    response.mutable_error_response()->set_error_message(why);
  }

  static void TakeFile(const FileDescriptor* file, Sent& sent,
                       v1::ServerReflectionResponse& response) {
    if (file == nullptr)
      return Refuse(grpc::StatusCode::NOT_FOUND, "there is no such file, symbol or extension",
                    response);
    // A file that is asked for twice is sent twice; its imports are not.
    sent.erase(file);
    AddFile(file, sent, *response.mutable_file_descriptor_response());
  }

  void TakeExtensions(const std::string& name, v1::ServerReflectionResponse& response) const {
    const auto* type = pool_.FindMessageTypeByName(name);
    if (type == nullptr)
      return Refuse(grpc::StatusCode::NOT_FOUND, "there is no such message", response);
    std::vector<const google::protobuf::FieldDescriptor*> extensions;
    pool_.FindAllExtensions(type, &extensions);
    response.mutable_all_extension_numbers_response()->set_base_type_name(name);
    for (const auto* extension : extensions)
      response.mutable_all_extension_numbers_response()->add_extension_number(extension->number());
  }

  const DescriptorPool& pool_ = *DescriptorPool::generated_pool();
  std::vector<std::string> services_;
};

// Adds the service to a server, and tells it which others the server has.
class Plugin : public grpc::ServerBuilderPlugin {
 public:
  std::string name() override { return "reflection_v1"; }
  void InitServer(grpc::ServerInitializer* server) override { server->RegisterService(service_); }
  void Finish(grpc::ServerInitializer* server) override {
    service_->SetServices(*server->GetServiceList());
  }
  void ChangeArguments(const std::string&, void*) override {}
  bool has_sync_methods() const override { return true; }

 private:
  const std::shared_ptr<Service> service_ = std::make_shared<Service>();
};

class Option : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->push_back(std::make_unique<Plugin>());
  }
};

}  // namespace

std::unique_ptr<grpc::ServerBuilderOption> MakeReflectionOption() {
  return std::make_unique<Option>();
}

}  // namespace finetune

#else

// gRPC's own library serves v1.
std::unique_ptr<grpc::ServerBuilderOption> finetune::MakeReflectionOption() { return nullptr; }

#endif
