#include "server/otlp/trace_settings.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/status_macros.h"
#include "server/base/uuid.h"
#include "server/http/address_policy.h"

namespace finetune {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

absl::Status Bad(absl::string_view variable, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(variable, ": ", what));
}

// The variables; an empty one counts as absent, as the standard has it.
class Variables {
 public:
  explicit Variables(const std::function<const char*(const std::string&)>& environment)
      : environment_(environment) {}

  std::string Get(const std::string& name) const {
    const char* value = environment_(name);
    return value == nullptr ? std::string()
                            : std::string(absl::StripAsciiWhitespace(absl::string_view(value)));
  }
  // The name of the variable that counts: the one for traces, or else the one for all signals.
  std::string ForTraces(absl::string_view suffix) const {
    std::string own = absl::StrCat("OTEL_EXPORTER_OTLP_TRACES_", suffix);
    return Get(own).empty() ? absl::StrCat("OTEL_EXPORTER_OTLP_", suffix) : own;
  }

 private:
  const std::function<const char*(const std::string&)>& environment_;
};

std::optional<std::string> PercentDecoded(absl::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size() || !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) ||
        !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2])))
      return std::nullopt;
    decoded += absl::HexStringToBytes(text.substr(i + 1, 2));
    i += 2;
  }
  return decoded;
}

// KEY=VALUE,KEY=VALUE with percent-encoded values. The error shows nothing of it.
absl::StatusOr<Pairs> ReadPairs(const Variables& variables, const std::string& variable) {
  Pairs pairs;
  const std::string text = variables.Get(variable);
  for (absl::string_view item : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(item, absl::MaxSplits('=', 1));
    const absl::string_view key = absl::StripAsciiWhitespace(parts.first);
    const auto value = PercentDecoded(absl::StripAsciiWhitespace(parts.second));
    if (key.empty() || !absl::StrContains(item, "=") || !value)
      return Bad(variable, "must be KEY=VALUE pairs with commas between, values percent-encoded");
    pairs.emplace_back(std::string(key), *value);
  }
  return pairs;
}

absl::Status ReadNumber(const Variables& variables, const std::string& variable, int64_t least,
                        int64_t& number) {
  const std::string text = variables.Get(variable);
  if (text.empty()) return absl::OkStatus();
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < least || value > 1'000'000)
    return Bad(variable,
               absl::StrCat("'", text, "' is not a whole number from ", least, " to 1000000"));
  number = value;
  return absl::OkStatus();
}

absl::Status ReadMilliseconds(const Variables& variables, const std::string& variable,
                              absl::Duration& duration) {
  int64_t milliseconds = absl::ToInt64Milliseconds(duration);
  RETURN_IF_ERROR(ReadNumber(variables, variable, 1, milliseconds));
  duration = absl::Milliseconds(milliseconds);
  return absl::OkStatus();
}

absl::Status ReadEndpoint(const Variables& variables, TraceSettings& settings) {
  const std::string variable = variables.ForTraces("ENDPOINT");
  std::string url = variables.Get(variable);
  if (url.empty()) return absl::OkStatus();
  const auto target = ParseTarget(url);
  // Not shown: it may hold a password.
  if (!target.ok())
    return Bad(variable, "is not a plain http or https URL (without user name and password)");
  // That for all signals names their common root.
  if (variable == "OTEL_EXPORTER_OTLP_ENDPOINT")
    url = absl::StrCat(absl::StripSuffix(url, "/"), "/v1/traces");
  settings.url = std::move(url);
  settings.collector = absl::StrCat(target->host, ":", target->port);
  return absl::OkStatus();
}

absl::Status ReadTransport(const Variables& variables, TraceSettings& settings) {
  const std::string protocol = variables.ForTraces("PROTOCOL");
  if (variables.Get(protocol) == "grpc")
    return Bad(protocol,
               "the gateway speaks OTLP over HTTP: use http/json, and the collector's port for it "
               "(mostly 4318)");
  const std::string headers = variables.ForTraces("HEADERS");
  ASSIGN_OR_RETURN(Pairs pairs, ReadPairs(variables, headers));
  for (auto& [name, value] : pairs)
    settings.headers.emplace_back(std::move(name), Secret(std::move(value)));
  const std::string certificate = variables.ForTraces("CERTIFICATE");
  settings.ca_file = variables.Get(certificate);
  if (!settings.ca_file.empty() && access(settings.ca_file.c_str(), R_OK) != 0)
    return Bad(certificate, absl::StrCat("the file '", settings.ca_file, "' cannot be read"));
  return ReadMilliseconds(variables, variables.ForTraces("TIMEOUT"), settings.timeout);
}

absl::Status ReadSampling(const Variables& variables, Tracer::Sampling& sampling) {
  const std::string text = variables.Get("OTEL_TRACES_SAMPLER");
  absl::string_view name = text;
  if (name.empty()) return absl::OkStatus();
  sampling.follow_parent = absl::ConsumePrefix(&name, "parentbased_");
  if (name == "always_on") return absl::OkStatus();
  if (name == "always_off") {
    sampling.ratio = 0;
    return absl::OkStatus();
  }
  if (name != "traceidratio")
    return Bad("OTEL_TRACES_SAMPLER",
               absl::StrCat("'", text,
                            "' is not always_on, always_off or traceidratio, with or "
                            "without parentbased_ in front"));
  const std::string ratio = variables.Get("OTEL_TRACES_SAMPLER_ARG");
  if (!ratio.empty() &&
      (!absl::SimpleAtod(ratio, &sampling.ratio) || !(sampling.ratio >= 0 && sampling.ratio <= 1)))
    return Bad("OTEL_TRACES_SAMPLER_ARG", absl::StrCat("'", ratio, "' is not from 0 to 1"));
  return absl::OkStatus();
}

absl::Status ReadResource(const Variables& variables, Pairs& resource) {
  ASSIGN_OR_RETURN(resource, ReadPairs(variables, "OTEL_RESOURCE_ATTRIBUTES"));
  const auto set = [&](const char* key, const std::string& value, bool always) {
    const auto found = std::find_if(resource.begin(), resource.end(),
                                    [&](auto& pair) { return pair.first == key; });
    if (found == resource.end())
      resource.emplace_back(key, value);
    else if (always)
      found->second = value;
  };
  const std::string name = variables.Get("OTEL_SERVICE_NAME");
  set("service.name", name.empty() ? "finetune-gateway" : name, /*always=*/!name.empty());
  set("service.version", FINETUNE_VERSION, /*always=*/false);
  set("service.instance.id", MakeUuid(), /*always=*/false);
  return absl::OkStatus();
}

absl::Status ReadBatching(const Variables& variables, TraceSettings& settings) {
  RETURN_IF_ERROR(ReadMilliseconds(variables, "OTEL_BSP_SCHEDULE_DELAY", settings.schedule_delay));
  auto queue = static_cast<int64_t>(settings.max_queue);
  RETURN_IF_ERROR(ReadNumber(variables, "OTEL_BSP_MAX_QUEUE_SIZE", 1, queue));
  auto batch = static_cast<int64_t>(settings.max_batch);
  RETURN_IF_ERROR(ReadNumber(variables, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, batch));
  settings.max_queue = static_cast<size_t>(queue);
  settings.max_batch = static_cast<size_t>(std::min(batch, queue));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TraceSettings> ReadTraceSettings(
    const std::function<const char*(const std::string& name)>& environment) {
  const Variables variables(environment);
  TraceSettings settings;
  if (absl::EqualsIgnoreCase(variables.Get("OTEL_SDK_DISABLED"), "true") ||
      variables.Get("OTEL_TRACES_EXPORTER") == "none")
    return settings;
  RETURN_IF_ERROR(ReadEndpoint(variables, settings));
  // What nobody uses stops no start.
  if (!settings.enabled()) return settings;
  RETURN_IF_ERROR(ReadTransport(variables, settings));
  RETURN_IF_ERROR(ReadSampling(variables, settings.sampling));
  RETURN_IF_ERROR(ReadBatching(variables, settings));
  RETURN_IF_ERROR(ReadResource(variables, settings.resource));
  return settings;
}

}  // namespace finetune
