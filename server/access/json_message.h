#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>

#include <string>

#include "absl/status/status.h"

namespace finetune {

// Reads the proto3 JSON of a file from outside, more strictly than protobuf does: what is no JSON
// by the standard, a member that is there twice, under whichever of its two names, and an enum's
// number that stands for nothing are refused, as unknown members are. INVALID_ARGUMENT; the message
// quotes nothing of the text but names of members.
absl::Status ReadJsonMessage(const std::string& json, google::protobuf::Message& message);

// Reads any JSON object. False if it is none, or if a member is there twice: two readers might take
// different ones.
bool ReadJsonObject(const std::string& json, google::protobuf::Struct& object);

}  // namespace finetune
