#pragma once

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/any.pb.h"
#include "server/base/error_details.pb.h"

namespace finetune {

// The beginning of the type URLs of all details; the message's name in google.rpc follows.
inline constexpr absl::string_view kDetailUrlPrefix = "type.googleapis.com/google.rpc.";

// The type URL of a detail, `type.googleapis.com/google.rpc.RetryInfo`, for rpc::RetryInfo as well
// as for Google's own message.
inline std::string DetailUrl(const google::protobuf::Descriptor* type) {
  return absl::StrCat(kDetailUrlPrefix, type->name());
}

template <typename Detail>
std::string DetailUrl() {
  return DetailUrl(Detail::descriptor());
}

// Adds a detail to what the trailer `grpc-status-details-bin` holds.
inline void AddDetail(rpc::Status& status, const google::protobuf::Message& detail) {
  auto* any = status.add_details();
  any->set_type_url(DetailUrl(detail.GetDescriptor()));
  any->set_value(detail.SerializeAsString());
}

// The detail in `any`, if it has that type and can be read.
template <typename Detail>
std::optional<Detail> DetailIn(const google::protobuf::Any& any) {
  Detail detail;
  if (any.type_url() != DetailUrl<Detail>() || !detail.ParseFromString(any.value()))
    return std::nullopt;
  return detail;
}

}  // namespace finetune
