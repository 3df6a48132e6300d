#include "client/cli/config_file.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/cpp/local_file.h"
#include "server/base/read_file.h"

namespace finetune::cli {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

// Each setting, once.
constexpr std::pair<const char*, std::string Context::*> kTexts[] = {
    {"server", &Context::server},
    {"tls_ca", &Context::tls_ca},
    {"tls_cert", &Context::tls_cert},
    {"tls_key", &Context::tls_key},
    {"tls_server_name", &Context::tls_server_name},
    {"token_file", &Context::token_file},
};
constexpr std::pair<const char*, bool Context::*> kFlags[] = {
    {"tls", &Context::tls},
    {"allow_insecure_token", &Context::allow_insecure_token},
};

bool Read(const std::string& key, const Value& value, Context& context) {
  for (const auto& [name, text] : kTexts) {
    if (key != name) continue;
    context.*text = value.string_value();
    return value.kind_case() == Value::kStringValue;
  }
  for (const auto& [name, flag] : kFlags) {
    if (key != name) continue;
    context.*flag = value.bool_value();
    return value.kind_case() == Value::kBoolValue;
  }
  return false;
}

std::string FolderOfUser() {
  const char* folder = std::getenv("XDG_CONFIG_HOME");
  if (folder != nullptr && *folder == '/') return folder;
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? absl::StrCat(home, "/.config") : "";
}

}  // namespace

std::string ConfigPath() {
  const char* path = std::getenv("FINETUNE_CONFIG");
  if (path != nullptr && *path != '\0') return path;
  const std::string folder = FolderOfUser();
  return folder.empty() ? "" : absl::StrCat(folder, "/finetune/config.json");
}

absl::StatusOr<Config> ReadConfig(const std::string& path) {
  Config config;
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored)) return config;
  const auto file = ReadFile(path);
  if (!file.ok()) return file.status();
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("the settings in ", path, ": ", why));
  };
  Struct root;
  if (const auto status = google::protobuf::util::JsonStringToMessage(file->text, &root);
      !status.ok())
    return bad(absl::StrCat("no JSON: ", std::string(status.message())));
  for (const auto& [key, value] : root.fields()) {
    if (key == "current") {
      config.current = value.string_value();
    } else if (key != "contexts") {
      return bad(absl::StrCat("`", key, "` is unknown"));
    }
  }
  const auto contexts = root.fields().find("contexts");
  if (contexts == root.fields().end()) return config;
  for (const auto& [name, settings] : contexts->second.struct_value().fields()) {
    Context& context = config.contexts[name];
    for (const auto& [key, value] : settings.struct_value().fields()) {
      if (!Read(key, value, context))
        return bad(
            absl::StrCat("`", key, "` of the context ", name, " is unknown or no such value"));
    }
  }
  return config;
}

absl::Status WriteConfig(const std::string& path, const Config& config) {
  if (path.empty())
    return absl::InvalidArgumentError("there is no home for settings; set FINETUNE_CONFIG");
  Struct root;
  auto& fields = *root.mutable_fields();
  fields["current"].set_string_value(config.current);
  auto& contexts = *fields["contexts"].mutable_struct_value()->mutable_fields();
  for (const auto& [name, context] : config.contexts) {
    auto& settings = *contexts[name].mutable_struct_value()->mutable_fields();
    for (const auto& [key, text] : kTexts) {
      if (!(context.*text).empty()) settings[key].set_string_value(context.*text);
    }
    for (const auto& [key, flag] : kFlags) {
      if (context.*flag) settings[key].set_bool_value(true);
    }
  }
  std::string json;
  google::protobuf::util::JsonPrintOptions pretty;
  pretty.add_whitespace = true;
  if (!google::protobuf::util::MessageToJsonString(root, &json, pretty).ok())
    return absl::InvalidArgumentError("these settings cannot be written as JSON");
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  return ReplaceFile(path, json);
}

}  // namespace finetune::cli
