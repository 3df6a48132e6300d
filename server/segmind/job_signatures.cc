#include "server/segmind/job_signatures.h"

#include "server/base/url_signature.h"

namespace finetune {
namespace {

void RemoveFromValue(google::protobuf::Value& value) {
  if (value.has_string_value()) {
    if (IsSigned(value.string_value()))
      value.set_string_value(WithoutSignatures(value.string_value()));
  } else if (value.has_struct_value()) {
    RemoveSignatures(*value.mutable_struct_value());
  } else if (value.has_list_value()) {
    for (auto& item : *value.mutable_list_value()->mutable_values()) RemoveFromValue(item);
  }
}

}  // namespace

void RemoveSignatures(google::protobuf::Struct& object) {
  for (auto& [name, value] : *object.mutable_fields()) RemoveFromValue(value);
}

void RemoveSignatures(pb::FineTune& job) {
  job.set_data_source_uri(WithoutSignatures(job.data_source_uri()));
  if (job.parameters().has_extra()) RemoveSignatures(*job.mutable_parameters()->mutable_extra());
}

}  // namespace finetune
