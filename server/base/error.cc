#include "server/base/error.h"

#include <memory>

#include "server/base/error_details.h"

namespace finetune {
namespace {

constexpr size_t kMaxMetadataValue = 256;
constexpr size_t kMaxMessage = 1024;
constexpr int kMaxFields = 20;

template <typename Message>
std::optional<Message> Payload(const absl::Status& status) {
  auto payload = status.GetPayload(DetailUrl<Message>());
  if (!payload.has_value()) return std::nullopt;
  Message message;
  if (!message.ParseFromString(std::string(*payload))) return std::nullopt;
  return message;
}

void SetPayload(absl::Status& status, const google::protobuf::Message& message) {
  status.SetPayload(DetailUrl(message.GetDescriptor()), absl::Cord(message.SerializeAsString()));
}

}  // namespace

struct Error::Details {
  rpc::ErrorInfo info;
  std::optional<rpc::RetryInfo> retry;
  std::optional<rpc::BadRequest> bad_request;
  std::optional<rpc::QuotaFailure> quota;
  std::optional<rpc::ResourceInfo> resource;
};

Error::Error(absl::StatusCode code, pb::ErrorReason::Reason reason, std::string_view message)
    : code_(code),
      message_(ValidUtf8(message, kMaxMessage)),
      details_(std::make_shared<Details>()) {
  details_->info.set_reason(pb::ErrorReason::Reason_Name(reason));
  details_->info.set_domain(std::string(kErrorDomain));
}

Error&& Error::Metadata(std::string_view key, std::string_view value) && {
  (*details_->info.mutable_metadata())[std::string(key)] = ValidUtf8(value, kMaxMetadataValue);
  return std::move(*this);
}

Error&& Error::RetryAfter(absl::Duration delay) && {
  details_->retry.emplace();
  auto* wire = details_->retry->mutable_retry_delay();
  wire->set_seconds(absl::ToInt64Seconds(delay));
  wire->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(delay - absl::Seconds(wire->seconds()))));
  return std::move(*this);
}

Error&& Error::Field(std::string_view field, std::string_view description) && {
  if (!details_->bad_request) details_->bad_request.emplace();
  if (details_->bad_request->field_violations_size() < kMaxFields) {
    auto* violation = details_->bad_request->add_field_violations();
    violation->set_field(ValidUtf8(field, kMaxMetadataValue));
    violation->set_description(ValidUtf8(description, kMaxMetadataValue));
  }
  return std::move(*this);
}

Error&& Error::Quota(std::string_view subject, std::string_view description) && {
  if (!details_->quota) details_->quota.emplace();
  auto* violation = details_->quota->add_violations();
  violation->set_subject(ValidUtf8(subject, kMaxMetadataValue));
  violation->set_description(ValidUtf8(description, kMaxMetadataValue));
  return std::move(*this);
}

Error&& Error::Resource(std::string_view type, std::string_view name) && {
  details_->resource.emplace();
  details_->resource->set_resource_type(std::string(type));
  details_->resource->set_resource_name(ValidUtf8(name, kMaxMetadataValue));
  return std::move(*this);
}

Error::operator absl::Status() && {
  absl::Status status(code_, message_);
  SetPayload(status, details_->info);
  if (details_->retry) SetPayload(status, *details_->retry);
  if (details_->bad_request) SetPayload(status, *details_->bad_request);
  if (details_->quota) SetPayload(status, *details_->quota);
  if (details_->resource) SetPayload(status, *details_->resource);
  return status;
}

pb::ErrorReason::Reason ReasonOf(const absl::Status& status) {
  auto info = Payload<rpc::ErrorInfo>(status);
  pb::ErrorReason::Reason reason = pb::ErrorReason::REASON_UNSPECIFIED;
  if (info) pb::ErrorReason::Reason_Parse(info->reason(), &reason);
  return reason;
}

std::optional<absl::Duration> RetryDelayOf(const absl::Status& status) {
  auto retry = Payload<rpc::RetryInfo>(status);
  if (!retry) return std::nullopt;
  return absl::Seconds(retry->retry_delay().seconds()) +
         absl::Nanoseconds(retry->retry_delay().nanos());
}

std::string EncodeStatus(const absl::Status& status) {
  rpc::Status wire;
  wire.set_code(static_cast<int>(status.code()));
  const absl::string_view message = status.message();
  wire.set_message(ValidUtf8({message.data(), message.size()}, kMaxMessage));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    auto* detail = wire.add_details();
    detail->set_type_url(std::string(url));
    detail->set_value(std::string(value));
  });
  return wire.SerializeAsString();
}

absl::Status DecodeStatus(const std::string& bytes) {
  rpc::Status wire;
  if (!wire.ParseFromString(bytes) || wire.code() <= 0 || wire.code() > 16)
    return absl::UnknownError("an error that cannot be read");
  absl::Status status(static_cast<absl::StatusCode>(wire.code()), wire.message());
  for (const auto& detail : wire.details())
    status.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  return status;
}

}  // namespace finetune
