#pragma once

#include "google/protobuf/struct.pb.h"
#include "server/json/json.h"
#include "server/json/json_writer.h"

namespace finetune {

// The pair of conversions between JSON and google.protobuf.Struct.

// How much of one Struct is kept; the rest is dropped, so that one strange job cannot make every
// list too large to send.
struct StructBudget {
  // Each level is three messages on the wire (Struct, entry, Value), and protobuf's parsers refuse
  // what is nested more than 100 deep, with the whole message around it.
  int depth = 28;
  int values = 4096;
  size_t bytes = size_t{256} << 10;
};

// The content of `object` as far as `budget` lasts, which is reduced. An object nested too deeply,
// and a number that is not finite, is dropped; a whole number beyond kMaxExactWhole becomes text.
// Empty for a value that is not an object.
google::protobuf::Struct ToStruct(const JsonValue& object, StructBudget& budget);
// The same, added to `out`.
void AddMembers(const JsonValue& object, StructBudget& budget, google::protobuf::Struct& out);

// Adds one member. False, and nothing changes, if it does not fit into `budget`.
bool AddToStruct(std::string_view name, const JsonValue& value, StructBudget& budget,
                 google::protobuf::Struct& out);

// Whole numbers are written as integers: Segmind's parameters care.
void WriteJson(const google::protobuf::Value& value, JsonWriter& writer);

}  // namespace finetune
