#include "server/service/calls/grpc_status.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "server/base/error.h"
#include "server/base/error_details.h"
#include "server/base/status_memo.h"

namespace finetune {
namespace {

constexpr size_t kMaxWireBytes = 3900;
constexpr size_t kMaxMessage = 700;
constexpr absl::string_view kTypePrefix = "type.googleapis.com/";

// grpc-message travels percent-encoded.
size_t PercentEncodedSize(absl::string_view text) {
  size_t size = 0;
  for (char c : text) size += (c >= ' ' && c <= '~' && c != '%') ? 1 : 3;
  return size;
}

std::string DefaultErrorInfo(absl::StatusCode code) {
  rpc::ErrorInfo info;
  info.set_reason(absl::StatusCodeToString(code));
  info.set_domain(std::string(kErrorDomain));
  return info.SerializeAsString();
}

void Add(rpc::Status& wire, absl::string_view type_url, std::string value) {
  auto* detail = wire.add_details();
  detail->set_type_url(std::string(type_url));
  detail->set_value(std::move(value));
}

// Adds what fits; of a BadRequest, the violations that fit.
void AddIfItFits(rpc::Status& wire, absl::string_view type_url, std::string value, size_t budget) {
  constexpr size_t kFraming = 8;
  const size_t used = wire.ByteSizeLong() + type_url.size() + kFraming;
  if (used >= budget) return;
  if (value.size() > budget - used) {
    rpc::BadRequest bad_request;
    if (type_url != DetailUrl<rpc::BadRequest>() || !bad_request.ParseFromString(value)) return;
    while (bad_request.field_violations_size() > 0 && bad_request.ByteSizeLong() > budget - used)
      bad_request.mutable_field_violations()->RemoveLast();
    if (bad_request.field_violations_size() == 0) return;
    value = bad_request.SerializeAsString();
  }
  Add(wire, type_url, std::move(value));
}

grpc::Status MakeGrpcStatus(const absl::Status& status) {
  const absl::string_view text = status.message();
  rpc::Status wire;
  wire.set_code(static_cast<int>(status.code()));
  wire.set_message(ValidUtf8({text.data(), text.size()}, kMaxMessage));
  const size_t budget = kMaxWireBytes - PercentEncodedSize(wire.message());

  const std::string info_url = DetailUrl<rpc::ErrorInfo>();
  const std::string retry_url = DetailUrl<rpc::RetryInfo>();
  auto info = status.GetPayload(info_url);
  auto retry = status.GetPayload(retry_url);
  std::string info_bytes = info ? std::string(*info) : DefaultErrorInfo(status.code());
  if (info_bytes.size() > budget / 2) {
    rpc::ErrorInfo whole;
    whole.ParseFromString(info_bytes);
    whole.clear_metadata();
    info_bytes = whole.SerializeAsString();
  }
  Add(wire, info_url, std::move(info_bytes));
  if (retry) Add(wire, retry_url, std::string(*retry));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    if (url == info_url || url == retry_url || !absl::StartsWith(url, kTypePrefix)) return;
    AddIfItFits(wire, url, std::string(value), budget);
  });
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), wire.message(),
                      wire.SerializeAsString());
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  if (!absl::IsResourceExhausted(status)) return MakeGrpcStatus(status);
  // A refusal must cost little, and the same ones come again and again.
  thread_local StatusMemo<grpc::Status> known;
  return known.Of(status, MakeGrpcStatus);
}

}  // namespace finetune
