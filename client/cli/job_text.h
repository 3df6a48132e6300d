// Jobs as text for people.
#pragma once

#include <string>
#include <vector>

#include "client/cli/session.h"

namespace finetune::cli {

// Prints a job as a page of facts, or in the format for programs.
void PrintJob(Session& session, const pb::FineTune& job);
// Prints that page with how long each stage took, and what to do next.
void PrintDescription(Session& session, const pb::FineTune& job);

// The columns and the row of a job in a list.
std::vector<Column> JobColumns();
std::vector<Cell> JobRow(const pb::FineTune& job, absl::Time now, bool short_id);

// A job's name in lines and progress: its display name, or its id if it has none.
std::string CalledName(const pb::FineTune& job);
// The state, with a note if it is still being found out.
std::string StateText(const pb::FineTune& job);
// Why a job failed, or what it is waiting for; may be empty.
std::string NoteOf(const pb::FineTune& job);
// What can be done with the job now, as one command or sentence on each line.
std::vector<std::string> NextSteps(const pb::FineTune& job);

}  // namespace finetune::cli
