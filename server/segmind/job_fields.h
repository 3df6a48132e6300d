#pragma once

#include <google/protobuf/descriptor.h>

#include <vector>

#include "server/base/error.h"

namespace finetune {

// A field of a job, a text, a number or a flag, that means the same to Segmind and to callers. One
// row is all there is to say of it: readings take it from Segmind's answers, joins put it into the
// record, and a submission sends it where a caller may set it.
struct JobField {
  const google::protobuf::FieldDescriptor* field;  // In pb::FineTune.
  const char* upstream_name;                       // Segmind's name for it.
  bool input;                                      // Callers set it in a create.
};

// In the order in which a submission sends them.
const std::vector<JobField>& JobFields();

// What callers may ask for in a create, and none of what is output only.
pb::FineTune InputOf(const pb::FineTune& fine_tune);

}  // namespace finetune
