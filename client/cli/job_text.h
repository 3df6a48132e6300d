// Jobs as people read them.
#pragma once

#include <string>
#include <vector>

#include "client/cli/session.h"

namespace finetune::cli {

// A job as a page of facts, or in the format for programs.
void PrintJob(Session& session, const pb::FineTune& job);
// The page with how long each stage took, and what to do next.
void PrintDescription(Session& session, const pb::FineTune& job);

// The columns and the row of a job in a list.
std::vector<Column> JobColumns();
std::vector<Cell> JobRow(const pb::FineTune& job, absl::Time now, bool short_id);

// What a job's line and progress call it: its display name, or its id where it has none.
std::string CalledName(const pb::FineTune& job);
// The state, and that it is being found out where it is.
std::string StateText(const pb::FineTune& job);
// Why a job failed, or what it is waiting for; may be empty.
std::string NoteOf(const pb::FineTune& job);
// What to do with a job as it is, one command or sentence a line.
std::vector<std::string> NextSteps(const pb::FineTune& job);

}  // namespace finetune::cli
