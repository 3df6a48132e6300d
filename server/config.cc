#include "server/config.h"

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/access/binding.h"
#include "server/base/status_macros.h"
#include "server/flags.h"
#include "server/store/membership.h"

namespace finetune {
namespace {

constexpr absl::string_view kPrefix = "FINETUNE_GATEWAY_";

// The text given for a flag, and where it was given: `--listen` or `FINETUNE_GATEWAY_LISTEN`.
struct Given {
  std::string text;
  std::string origin;
};
using GivenFlags = std::map<absl::string_view, Given>;  // By the flags' names.

const Flag* FindFlag(absl::string_view name) {
  const auto& flags = Flags();
  const auto found =
      std::find_if(flags.begin(), flags.end(), [&](const Flag& flag) { return flag.name == name; });
  return found == flags.end() ? nullptr : &*found;
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

// Null if no flag is similar.
const Flag* NearestFlag(absl::string_view name) {
  const auto& flags = Flags();
  const auto nearest =
      std::min_element(flags.begin(), flags.end(), [&](const Flag& a, const Flag& b) {
        return EditDistance(name, a.name) < EditDistance(name, b.name);
      });
  const size_t allowed = std::max<size_t>(2, nearest->name.size() / 3);
  return EditDistance(name, nearest->name) <= allowed ? &*nearest : nullptr;
}

absl::Status UnknownFlag(absl::string_view name) {
  const Flag* nearest = NearestFlag(name);
  return absl::NotFoundError(
      absl::StrCat("unknown flag --", name,
                   nearest != nullptr ? absl::StrCat("; did you mean --", nearest->name, "?") : "",
                   " (--help lists all flags)"));
}

absl::StatusOr<GivenFlags> ReadArguments(const std::vector<std::string>& arguments) {
  GivenFlags given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    absl::string_view argument = arguments[i];
    if (!absl::ConsumePrefix(&argument, "--"))
      return absl::NotFoundError(
          absl::StrCat("'", argument, "' is not a flag (--help lists all flags)"));
    const size_t equals = argument.find('=');
    const absl::string_view name = argument.substr(0, equals);
    std::optional<std::string> value;
    if (equals != argument.npos) value = std::string(argument.substr(equals + 1));
    const Flag* flag = FindFlag(name);
    if (flag == nullptr && !value && absl::StartsWith(name, "no")) {
      flag = FindFlag(name.substr(2));
      if (flag != nullptr && !flag->value.is_switch) flag = nullptr;
      if (flag != nullptr) value = "false";
    }
    if (flag == nullptr) return UnknownFlag(name);
    if (!value && flag->value.is_switch) value = "true";
    if (!value && i + 1 < arguments.size()) value = arguments[++i];
    if (!value)
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, ": needs a value: ", flag->value.kind));
    given[flag->name] = {*std::move(value), absl::StrCat("--", flag->name)};
  }
  return given;
}

// Whether Kubernetes sets such a variable in every pod for a Service named finetune-gateway or
// finetune-gateway-x.
bool IsOfKubernetes(absl::string_view name, absl::string_view value) {
  return absl::EndsWith(name, "_SERVICE_HOST") || absl::StrContains(name, "_SERVICE_PORT") ||
         absl::StrContains(name, "_TCP") || absl::StrContains(name, "_UDP") ||
         (absl::EndsWith(name, "_PORT") && absl::StrContains(value, "://"));
}

// Adds the values that only the environment gives.
void ReadVariables(const Environment& environment, GivenFlags& given,
                   std::vector<std::string>& warnings) {
  for (const auto& [variable, value] : environment) {
    absl::string_view name = variable;
    if (!absl::ConsumePrefix(&name, kPrefix)) continue;
    const std::string lower = absl::AsciiStrToLower(name);
    const Flag* flag = FindFlag(lower);
    if (flag != nullptr && absl::AsciiStrToUpper(lower) == name) {
      given.try_emplace(flag->name, Given{value, variable});
    } else if (!IsOfKubernetes(variable, value)) {
      const Flag* nearest = NearestFlag(lower);
      warnings.push_back(absl::StrCat(
          "the environment variable ", variable, " matches no flag and has no effect",
          nearest == nullptr ? ""
                             : absl::StrCat("; did you mean ", kPrefix,
                                            absl::AsciiStrToUpper(nearest->name), "?")));
    }
  }
}

absl::Status SetAll(const GivenFlags& given, const Environment& environment, Config& config) {
  for (const Flag& flag : Flags()) {
    const auto found = given.find(flag.name);
    const absl::Status set = found == given.end()
                                 ? flag.value.set(flag.fallback, environment, config)
                                 : flag.value.set(found->second.text, environment, config);
    if (set.ok()) continue;
    const std::string origin =
        found == given.end() ? absl::StrCat("--", flag.name) : found->second.origin;
    return absl::InvalidArgumentError(absl::StrCat(origin, ": ", set.message()));
  }
  return absl::OkStatus();
}

// Checks that the flags fit together.
absl::Status CheckTogether(const Config& config) {
  if (config.idle_poll_interval < config.active_poll_interval)
    return absl::InvalidArgumentError(absl::StrCat(
        "--idle_poll_interval: must not be less than --active_poll_interval, which is ",
        absl::FormatDuration(config.active_poll_interval)));
  // A job that another gateway submits may reach Segmind this long after the gateway was last heard
  // of.
  if (!config.postgres_url.empty() && config.settle_time < config.submit_timeout + kMemberLease)
    return absl::InvalidArgumentError(absl::StrCat(
        "--settle_time: must not be less than ",
        absl::FormatDuration(config.submit_timeout + kMemberLease),
        ", which is --submit_timeout and the time after which a silent gateway counts as gone"));
  return CheckBinding(config.listen.host, config.tls, !config.policy_file.empty(),
                      config.allow_insecure);
}

}  // namespace

absl::StatusOr<Config> ReadConfig(const std::vector<std::string>& arguments,
                                  const Environment& environment) {
  Config config;
  ASSIGN_OR_RETURN(GivenFlags given, ReadArguments(arguments));
  ReadVariables(environment, given, config.warnings);
  RETURN_IF_ERROR(SetAll(given, environment, config));
  if (!config.policy_file.empty()) {
    config.reflection = config.reflection && given.contains("reflection");
    config.channelz = config.channelz && given.contains("channelz");
    config.page = config.page && given.contains("page");
  }
  config.traces = ReadTraceSettings(environment);
  config.warnings.insert(config.warnings.end(), config.traces.warnings.begin(),
                         config.traces.warnings.end());
  RETURN_IF_ERROR(CheckTogether(config));
  return config;
}

std::string HelpText() {
  std::string text =
      "finetune-gateway: one gRPC service between a company's services and Segmind's fine-tuning "
      "API.\n\n"
      "Every flag can also be set in the environment, as FINETUNE_GATEWAY_ and its name in "
      "capitals; the flag wins.\n"
      "Secrets come only from files, or (the API key) from SEGMIND_API_KEY. Files are reread when "
      "they change, and on SIGHUP.\n"
      "With OTEL_EXPORTER_OTLP_ENDPOINT set, traces go to that collector, as OpenTelemetry's other "
      "variables say.\n\n";
  for (const Flag& flag : Flags())
    absl::StrAppend(&text, "  --", flag.name, " (", flag.fallback, ")\n      ", flag.help, "\n");
  absl::StrAppend(
      &text,
      "  --help, --version\n\n"
      "finetune-gateway copy-store --from sqlite:PATH --to postgresql://... moves a record.\n");
  return text;
}

}  // namespace finetune
