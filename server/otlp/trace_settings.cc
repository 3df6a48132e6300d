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
#include "server/base/uuid.h"
#include "server/http/address_policy.h"

namespace finetune {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// The variables, and the warnings about them.
class Variables {
 public:
  Variables(const Environment& environment, std::vector<std::string>& warnings)
      : environment_(environment), warnings_(warnings) {}

  // An empty variable counts as absent, as the standard says.
  std::string Get(const std::string& name) const {
    const auto found = environment_.find(name);
    return found == environment_.end() ? std::string()
                                       : std::string(absl::StripAsciiWhitespace(found->second));
  }
  // The value of an enum in lower case, because the standard ignores case.
  std::string GetWord(const std::string& name) const { return absl::AsciiStrToLower(Get(name)); }

  // The name of the variable that counts: the one for traces, otherwise the one for all signals.
  std::string ForTraces(absl::string_view suffix) const {
    std::string own = absl::StrCat("OTEL_EXPORTER_OTLP_TRACES_", suffix);
    return Get(own).empty() ? absl::StrCat("OTEL_EXPORTER_OTLP_", suffix) : own;
  }

  template <typename... Words>
  void Warn(const std::string& name, const Words&... words) const {
    warnings_.push_back(absl::StrCat(name, ": ", words...));
  }

 private:
  const Environment& environment_;
  std::vector<std::string>& warnings_;
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

// Reads KEY=VALUE,KEY=VALUE with percent-encoded values. What is not such a pair is left out, and
// is not shown.
Pairs ReadPairs(const Variables& variables, const std::string& variable) {
  Pairs pairs;
  const std::string text = variables.Get(variable);
  for (absl::string_view item : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(item, absl::MaxSplits('=', 1));
    const absl::string_view key = absl::StripAsciiWhitespace(parts.first);
    const auto value = PercentDecoded(absl::StripAsciiWhitespace(parts.second));
    if (key.empty() || !absl::StrContains(item, "=") || !value) {
      variables.Warn(variable, "item ", pairs.size() + 1,
                     " is left out: it is not KEY=VALUE with a percent-encoded value");
      continue;
    }
    pairs.emplace_back(std::string(key), *value);
  }
  return pairs;
}

bool IsHeader(absl::string_view name, absl::string_view value) {
  constexpr absl::string_view kOfNames = "!#$%&'*+-.^_`|~";
  return std::all_of(name.begin(), name.end(),
                     [&](char c) {
                       return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                              absl::StrContains(kOfNames, c);
                     }) &&
         std::none_of(value.begin(), value.end(), [](char c) {
           return absl::ascii_iscntrl(static_cast<unsigned char>(c)) && c != '\t';
         });
}

int64_t ReadNumber(const Variables& variables, const std::string& variable, int64_t otherwise) {
  constexpr int64_t kMost = 1'000'000;
  const std::string text = variables.Get(variable);
  int64_t value = 0;
  if (text.empty()) return otherwise;
  if (absl::SimpleAtoi(text, &value) && value >= 1 && value <= kMost) return value;
  variables.Warn(variable, "'", text, "' is not a whole number from 1 to ", kMost, "; using ",
                 otherwise);
  return otherwise;
}

void ReadMilliseconds(const Variables& variables, const std::string& variable,
                      absl::Duration& duration) {
  duration =
      absl::Milliseconds(ReadNumber(variables, variable, absl::ToInt64Milliseconds(duration)));
}

void ReadSize(const Variables& variables, const std::string& variable, size_t& size) {
  size = static_cast<size_t>(ReadNumber(variables, variable, static_cast<int64_t>(size)));
}

bool IsSwitchedOff(const Variables& variables) {
  if (variables.GetWord("OTEL_SDK_DISABLED") == "true") return true;
  const std::string exporters = variables.GetWord("OTEL_TRACES_EXPORTER");
  if (exporters.empty() || exporters == "none") return exporters == "none";
  for (absl::string_view exporter : absl::StrSplit(exporters, ','))
    if (absl::StripAsciiWhitespace(exporter) == "otlp") return false;
  variables.Warn("OTEL_TRACES_EXPORTER", "'", exporters,
                 "' is not otlp or none; nothing is traced");
  return true;
}

void ReadEndpoint(const Variables& variables, TraceSettings& settings) {
  const std::string variable = variables.ForTraces("ENDPOINT");
  std::string url = variables.Get(variable);
  if (url.empty()) return;
  const std::string protocol = variables.ForTraces("PROTOCOL");
  if (variables.GetWord(protocol) == "grpc")
    return variables.Warn(protocol,
                          "the gateway speaks OTLP over HTTP alone, so nothing is traced: set "
                          "http/json, and in the endpoint the collector's port for it (mostly "
                          "4318)");
  const auto target = Url::Parse(url);
  // The value is not shown: it may hold a password.
  if (!target.ok())
    return variables.Warn(variable,
                          "is not a plain http or https URL (without user name and password), so "
                          "nothing is traced");
  // The variable for all signals names their common root.
  if (variable == "OTEL_EXPORTER_OTLP_ENDPOINT")
    url = absl::StrCat(absl::StripSuffix(url, "/"), "/v1/traces");
  settings.url = std::move(url);
  settings.collector = absl::StrCat(target->host(), ":", target->port());
}

void ReadTransport(const Variables& variables, TraceSettings& settings) {
  const std::string protocol = variables.ForTraces("PROTOCOL");
  const std::string word = variables.GetWord(protocol);
  if (!word.empty() && word != "http/json" && word != "http/protobuf")
    variables.Warn(protocol, "'", word, "' is not http/json; sending JSON over HTTP");
  const std::string headers = variables.ForTraces("HEADERS");
  for (auto& [name, value] : ReadPairs(variables, headers)) {
    if (IsHeader(name, value))
      settings.headers.emplace_back(name, Secret(std::move(value)));
    else
      variables.Warn(headers, "a header with characters that HTTP does not allow is left out");
  }
  const std::string certificate = variables.ForTraces("CERTIFICATE");
  settings.ca_file = variables.Get(certificate);
  if (!settings.ca_file.empty() && access(settings.ca_file.c_str(), R_OK) != 0) {
    variables.Warn(certificate, "the file '", settings.ca_file,
                   "' cannot be read; using the system's authorities");
    settings.ca_file.clear();
  }
  ReadMilliseconds(variables, variables.ForTraces("TIMEOUT"), settings.timeout);
}

void ReadRatio(const Variables& variables, double& ratio) {
  const std::string text = variables.Get("OTEL_TRACES_SAMPLER_ARG");
  double value = 0;
  if (text.empty()) return;
  if (absl::SimpleAtod(text, &value) && value >= 0 && value <= 1)
    ratio = value;
  else
    variables.Warn("OTEL_TRACES_SAMPLER_ARG", "'", text, "' is not from 0 to 1; using ", ratio);
}

void ReadSampling(const Variables& variables, Tracer::Sampling& sampling) {
  const std::string text = variables.GetWord("OTEL_TRACES_SAMPLER");
  absl::string_view name = text;
  const bool follow_parent = absl::ConsumePrefix(&name, "parentbased_");
  if (text.empty()) return;
  if (name == "traceidratio") {
    ReadRatio(variables, sampling.ratio);
  } else if (name == "always_off") {
    sampling.ratio = 0;
  } else if (name != "always_on") {
    return variables.Warn("OTEL_TRACES_SAMPLER", "'", text,
                          "' is not always_on, always_off or traceidratio, with or without "
                          "parentbased_ in front; using parentbased_always_on");
  }
  sampling.follow_parent = follow_parent;
}

Pairs ReadResource(const Variables& variables) {
  Pairs resource = ReadPairs(variables, "OTEL_RESOURCE_ATTRIBUTES");
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
  return resource;
}

void ReadBatching(const Variables& variables, TraceSettings& settings) {
  ReadMilliseconds(variables, "OTEL_BSP_SCHEDULE_DELAY", settings.schedule_delay);
  ReadSize(variables, "OTEL_BSP_MAX_QUEUE_SIZE", settings.max_queue);
  ReadSize(variables, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", settings.max_batch);
  settings.max_batch = std::min(settings.max_batch, settings.max_queue);
}

}  // namespace

TraceSettings ReadTraceSettings(const Environment& environment) {
  TraceSettings settings;
  const Variables variables(environment, settings.warnings);
  // If nothing is traced, the rest does not matter.
  if (IsSwitchedOff(variables)) return settings;
  ReadEndpoint(variables, settings);
  if (!settings.enabled()) return settings;
  ReadTransport(variables, settings);
  ReadSampling(variables, settings.sampling);
  ReadBatching(variables, settings);
  settings.resource = ReadResource(variables);
  return settings;
}

}  // namespace finetune
