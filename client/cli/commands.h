// The commands. Each function adds one to the program; its callback runs it and sets
// Session::exit_code.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/session.h"

namespace finetune::cli {

void AddCreate(CLI::App& app, Session& session);
void AddGet(CLI::App& app, Session& session);
void AddList(CLI::App& app, Session& session);
void AddDescribe(CLI::App& app, Session& session);
void AddWatch(CLI::App& app, Session& session);
void AddWait(CLI::App& app, Session& session);
void AddUpdate(CLI::App& app, Session& session);
void AddUploadUrl(CLI::App& app, Session& session);
void AddUpload(CLI::App& app, Session& session);
void AddDownload(CLI::App& app, Session& session);
void AddStatus(CLI::App& app, Session& session);
void AddWhoAmI(CLI::App& app, Session& session);
void AddSpend(CLI::App& app, Session& session);
void AddConfig(CLI::App& app, Session& session);
void AddCompletion(CLI::App& app, Session& session);

// Checks of option values; --help shows what each accepts.
CLI::Validator IsTimespan();
CLI::Validator IsState();
CLI::Validator IsPair();
CLI::Validator IsOutput();
CLI::Validator IsSelector();

// Prints how much of each of the caller's limits and budgets is used, one on each line.
void PrintQuotas(const pb::GatewayStatus& status, std::ostream& out);

// How every --help describes the name of a job.
inline constexpr char kJobHelp[] =
    "The job: its id or the beginning of it, its name, its display name";

// The filter and label options of a command as one filter of the contract.
std::string FilterOf(const std::string& filter, const std::vector<std::string>& selectors);

}  // namespace finetune::cli
