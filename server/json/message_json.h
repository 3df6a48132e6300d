#pragma once

#include "google/protobuf/message.h"
#include "server/json/json_writer.h"

namespace finetune {

// Writes `message` as proto3 JSON, without fields that have their default: the way from messages to
// JSON. Values of enums that have no name are numbers. Google's well-known types other than
// Timestamp, Duration, Struct and Value are written as their fields. Maps must have strings for
// keys.
void WriteMessage(const google::protobuf::Message& message, JsonWriter& writer);

}  // namespace finetune
