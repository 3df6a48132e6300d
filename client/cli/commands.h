// The commands. Each function adds one to the program; its callback runs it and sets
// Session::exit_code.
#pragma once

#include <CLI/App.hpp>
#include <iosfwd>
#include <string>

#include "client/cli/session.h"

namespace finetune::cli {

void AddCreate(CLI::App& app, Session& session);
void AddGet(CLI::App& app, Session& session);
void AddList(CLI::App& app, Session& session);
void AddWatch(CLI::App& app, Session& session);
void AddWait(CLI::App& app, Session& session);
void AddUpdate(CLI::App& app, Session& session);
void AddUploadUrl(CLI::App& app, Session& session);
void AddUpload(CLI::App& app, Session& session);
void AddDownload(CLI::App& app, Session& session);
void AddStatus(CLI::App& app, Session& session);
void AddCompletion(CLI::App& app, Session& session);

// Checks for options; each names what it wants in --help.
CLI::Validator IsTimespan();
CLI::Validator IsState();
CLI::Validator IsPair();

}  // namespace finetune::cli
