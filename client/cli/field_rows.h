#pragma once

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "client/cli/text.h"

namespace finetune::cli {

// A field of a job that is a text: how `create` sets it, and how it is shown. One row is all there
// is to say of it.
struct FieldRow {
  const google::protobuf::FieldDescriptor* field;  // In pb::FineTune.
  const char* label;                               // Before its value; null: not shown by this.
  const char* flag;                                // Of `create`; null: callers do not set it.
  const char* help;
};

// In the order in which they are shown.
const std::vector<FieldRow>& FieldRows();

// Empty if the job has none.
std::string TextOf(const pb::FineTune& job, const FieldRow& row);
// From what a flag was given.
void SetText(const std::string& text, const FieldRow& row, pb::FineTune& job);

}  // namespace finetune::cli
