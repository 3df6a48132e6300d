#pragma once

#include <string>
#include <vector>

#include "client/cli/session.h"

namespace finetune::cli {

// Shows every change of these jobs (or of all that match, if none is named) from now on, until it
// is interrupted. Returns the exit code.
int WatchChanges(Session& session, FineTuneClient& client, const std::vector<std::string>& names,
                 const std::string& filter);

}  // namespace finetune::cli
