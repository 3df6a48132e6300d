#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>

#include <string>

#include "absl/status/status.h"

namespace finetune {

// Reads the proto3 JSON of a file from outside, more strictly than protobuf does. INVALID_ARGUMENT,
// which quotes only member names, for text that is not standard JSON, a member that appears twice
// (under either of its two names), an enum number without a meaning, and unknown members.
absl::Status ReadJsonMessage(const std::string& json, google::protobuf::Message& message);

// Reads any JSON object. False if the text is not one, or if a member appears twice: two readers
// might take different ones.
bool ReadJsonObject(const std::string& json, google::protobuf::Struct& object);

}  // namespace finetune
