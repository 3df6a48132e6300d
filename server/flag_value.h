#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/environment.h"
#include "server/config.h"

namespace finetune {

// What a flag's value must be, and where in the configuration it goes.
struct FlagValue {
  // Completes "needs a value: " and "'x' is not ".
  absl::string_view kind;
  // Errors say what is wrong with the text, and not which flag it is for.
  std::function<absl::Status(absl::string_view text, const Environment&, Config&)> set;
  // May stand without a value, and with "no" in front of its name.
  bool is_switch = false;
};

FlagValue Switch(bool Config::*field);
FlagValue Text(std::string Config::*field);
FlagValue TlsFile(std::string TlsFiles::*field);
FlagValue Names(std::vector<std::string> Config::*field);
FlagValue Whole(int Config::*field, int least);
FlagValue Time(absl::Duration Config::*field, absl::Duration least);
FlagValue HostAndPort(Address Config::*field);
FlagValue ApiUrl(std::string Config::*field);
// sqlite_path or postgres_url.
FlagValue StorePlace();
FlagValue Level(LogLevel Config::*field);

}  // namespace finetune
