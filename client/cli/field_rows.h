#pragma once

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "client/cli/text.h"

namespace finetune::cli {

// A text field of a job: how `create` sets it, and how it is shown. One row is all that the command
// line needs to know about a field.
struct FieldRow {
  const google::protobuf::FieldDescriptor* field;  // In pb::FineTune.
  const char* label;                               // Before its value; null: not shown.
  const char* flag;                                // Of `create`; null: not set by callers.
  const char* help;
};

// In the order in which they are shown.
const std::vector<FieldRow>& FieldRows();

// The field's value as text; empty if the job has none.
std::string TextOf(const pb::FineTune& job, const FieldRow& row);
// Sets the field from the value of its flag.
void SetText(const std::string& text, const FieldRow& row, pb::FineTune& job);

}  // namespace finetune::cli
