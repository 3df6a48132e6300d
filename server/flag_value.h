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
// Names, each of which is a host's.
FlagValue HostNames(std::vector<std::string> Config::*field);
FlagValue Whole(int Config::*field, int least);
// Points in time that are further away than the longest cannot be told from others everywhere.
inline constexpr absl::Duration kLongestTime = absl::Hours(10 * 8760);
FlagValue Time(absl::Duration Config::*field, absl::Duration least,
               absl::Duration most = kLongestTime);
FlagValue HostAndPort(Address Config::*field);
FlagValue ApiUrl(std::string Config::*field);
// sqlite_path or postgres_url.
FlagValue StorePlaceValue();
FlagValue Level(LogLevel Config::*field);

}  // namespace finetune
