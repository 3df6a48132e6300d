#include "server/flag_value.h"

#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/url.h"

namespace finetune {
namespace {

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

absl::Status IsNot(absl::string_view text, absl::string_view kind) {
  return Bad(absl::StrCat("'", text, "' is not ", kind));
}

absl::Status SetAddress(absl::string_view text, Address& address) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos || colon == 0 ||
      !absl::SimpleAtoi(text.substr(colon + 1), &address.port) || address.port < 0 ||
      address.port > 65535)
    return IsNot(text, "HOST:PORT");
  const absl::string_view host = text.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (absl::StrContains(host, ":") != bracketed)
    return IsNot(text, "HOST:PORT (IPv6 goes in brackets)");
  address.host = std::string(host);
  return absl::OkStatus();
}

// The URL is not shown: it may hold a password or a key.
absl::Status SetApiUrl(absl::string_view text, std::string& url) {
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, "https://") && !absl::ConsumePrefix(&rest, "http://"))
    return Bad("must be an http or https URL");
  const absl::string_view authority = rest.substr(0, rest.find('/'));
  if (absl::StrContains(authority, "@")) return Bad("must not hold a user name or password");
  if (authority.empty() || text.find_first_of("?#") != text.npos ||
      !Url::Parse({text.data(), text.size()}).ok())
    return Bad("must be the URL of an API: scheme, host, perhaps port and path");
  while (absl::ConsumeSuffix(&text, "/")) {
  }
  url = std::string(text);
  return absl::OkStatus();
}

bool IsHostName(const std::string& name) {
  const auto url = Url::Parse(absl::StrCat("https://", name));
  return url.ok() && url->host() == absl::AsciiStrToLower(name);
}

// Null unless the variable holds an absolute path.
const std::string* FolderIn(const Environment& environment, const char* variable) {
  const auto found = environment.find(variable);
  return found != environment.end() && absl::StartsWith(found->second, "/") ? &found->second
                                                                            : nullptr;
}

// The error does not show the text, which may hold a password.
absl::Status SetStore(absl::string_view text, const Environment& environment, Config& config) {
  config.sqlite_path.clear();
  config.postgres_url.clear();
  if (absl::StartsWith(text, "postgresql://") || absl::StartsWith(text, "postgres://")) {
    config.postgres_url = std::string(text);
    return absl::OkStatus();
  }
  if (!absl::ConsumePrefix(&text, "sqlite:"))
    return Bad("this is neither sqlite:PATH nor postgresql://USER@HOST:PORT/DATABASE");
  std::string& path = config.sqlite_path;
  path = std::string(text);
  if (!path.empty()) return absl::OkStatus();
  constexpr absl::string_view kFile = "finetune-gateway/store.db";
  if (const std::string* state = FolderIn(environment, "XDG_STATE_HOME")) {
    path = absl::StrCat(*state, "/", kFile);
  } else if (const std::string* home = FolderIn(environment, "HOME")) {
    path = absl::StrCat(*home, "/.local/state/", kFile);
  } else {
    return Bad("there is no home folder to put the record into; use sqlite:PATH");
  }
  return absl::OkStatus();
}

}  // namespace

FlagValue Switch(bool Config::*field) {
  static constexpr absl::string_view kKind = "true or false";
  return {.kind = kKind,
          .set =
              [field](absl::string_view text, const Environment&, Config& config) {
                return absl::SimpleAtob(text, &(config.*field)) ? absl::OkStatus()
                                                                : IsNot(text, kKind);
              },
          .is_switch = true};
}

FlagValue Text(std::string Config::*field) {
  return {.kind = "text",
          .set = [field](absl::string_view text, const Environment&, Config& config) {
            config.*field = std::string(text);
            return absl::OkStatus();
          }};
}

FlagValue TlsFile(std::string TlsFiles::*field) {
  return {.kind = "a path",
          .set = [field](absl::string_view text, const Environment&, Config& config) {
            config.tls.*field = std::string(text);
            return absl::OkStatus();
          }};
}

FlagValue Names(std::vector<std::string> Config::*field) {
  return {.kind = "names with commas between",
          .set = [field](absl::string_view text, const Environment&, Config& config) {
            config.*field = absl::StrSplit(text, ',', absl::SkipWhitespace());
            return absl::OkStatus();
          }};
}

FlagValue HostNames(std::vector<std::string> Config::*field) {
  return {.kind = "host names with commas between",
          .set = [field](absl::string_view text, const Environment&, Config& config) {
            std::vector<std::string>& names = config.*field;
            names = absl::StrSplit(text, ',', absl::SkipWhitespace());
            for (std::string& name : names) {
              absl::StripAsciiWhitespace(&name);
              if (!IsHostName(name))
                return IsNot(name, "a host's name such as finetune.example.com");
            }
            return absl::OkStatus();
          }};
}

FlagValue Whole(int Config::*field, int least) {
  static constexpr absl::string_view kKind = "a whole number";
  return {.kind = kKind,
          .set = [field, least](absl::string_view text, const Environment&, Config& config) {
            int& number = config.*field;
            if (!absl::SimpleAtoi(text, &number)) return IsNot(text, kKind);
            if (number >= least) return absl::OkStatus();
            return Bad(absl::StrCat("must be at least ", least, ", not ", number));
          }};
}

FlagValue Time(absl::Duration Config::*field, absl::Duration least, absl::Duration most) {
  static constexpr absl::string_view kKind = "a duration such as 15s or 5m";
  return {.kind = kKind,
          .set = [field, least, most](absl::string_view text, const Environment&, Config& config) {
            absl::Duration& duration = config.*field;
            if (!absl::ParseDuration(text, &duration)) return IsNot(text, kKind);
            if (duration >= least && duration <= most) return absl::OkStatus();
            return Bad(absl::StrCat("must be ", absl::FormatDuration(least), " to ",
                                    absl::FormatDuration(most), ", not '", text, "'"));
          }};
}

FlagValue HostAndPort(Address Config::*field) {
  return {.kind = "HOST:PORT",
          .set = [field](absl::string_view text, const Environment&, Config& config) {
            return SetAddress(text, config.*field);
          }};
}

FlagValue ApiUrl(std::string Config::*field) {
  return {.kind = "an http or https URL",
          .set = [field](absl::string_view text, const Environment&, Config& config) {
            return SetApiUrl(text, config.*field);
          }};
}

FlagValue StorePlaceValue() {
  return {.kind = "sqlite:PATH or postgresql://USER@HOST:PORT/DATABASE", .set = SetStore};
}

FlagValue Level(LogLevel Config::*field) {
  static constexpr absl::string_view kKind = "debug, info, warning or error";
  return {.kind = kKind,
          .set = [field](absl::string_view text, const Environment&, Config& config) {
            constexpr absl::string_view kNames[] = {"debug", "info", "warning", "error"};
            for (size_t i = 0; i < std::size(kNames); ++i) {
              if (text != kNames[i]) continue;
              config.*field = static_cast<LogLevel>(i);
              return absl::OkStatus();
            }
            return IsNot(text, kKind);
          }};
}

}  // namespace finetune
