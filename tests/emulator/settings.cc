#include "tests/emulator/settings.h"

#include <type_traits>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/emulator/fetch.h"
#include "tests/emulator/json.h"
#include "tests/emulator/names.h"
#include "tests/emulator/paging.h"
#include "tests/emulator/signed_urls.h"
#include "tests/emulator/times.h"

namespace finetune::emulator {
namespace {

struct Field {
  const char* name;
  std::variant<std::string Settings::*, double Settings::*, int64_t Settings::*, bool Settings::*>
      member;
  std::vector<std::string> choices;  // Of a string; empty: any.
  // What is wrong with a string, or nothing. Null: any is good.
  std::optional<std::string> (*check)(std::string_view) = nullptr;
  bool may_be_negative = false;
};

const std::vector<Field>& Fields() {
  static const auto* const fields = new std::vector<Field>{
      {"api_key", &Settings::api_key, {}},
      {"old_api_key", &Settings::old_api_key, {}},
      {"public_url", &Settings::public_url, {}},
      {"time_scale", &Settings::time_scale, {}},
      {"check_datasets", &Settings::check_datasets, {}},
      {"webhook_url", &Settings::webhook_url, {}, CheckWebhookUrl},
      {"webhook_vocabulary", &Settings::webhook_vocabulary, {"webhook", "model"}},
      {"webhook_shape", &Settings::webhook_shape, {"flat", "nested", "request_id"}},
      {"webhook_attempts", &Settings::webhook_attempts, {}},
      {"credits", &Settings::credits, {}},
      {"price_per_job", &Settings::price_per_job, {}},
      {"no_credits_code", &Settings::no_credits_code, {}},
      {"credits_header", &Settings::credits_header, {}},
      {"rate_limit_per_minute", &Settings::rate_limit_per_minute, {}},
      {"rate_limit_reset_format", &Settings::rate_limit_reset_format, {"rfc3339", "epoch"}},
      {"distinct_ids", &Settings::distinct_ids, {}},
      {"name_mangling", &Settings::name_mangling, {}, CheckMangling},
      {"timestamp_fraction", &Settings::timestamp_fraction, {}},
      {"timestamp_format", &Settings::timestamp_format, TimestampFormats()},
      {"list_timestamps", &Settings::list_timestamps, {}},
      {"clock_offset_seconds", &Settings::clock_offset_seconds, {}, nullptr, true},
      {"date_offset_seconds", &Settings::date_offset_seconds, {}, nullptr, true},
      {"date_header", &Settings::date_header, {}},
      {"list_order", &Settings::list_order, {"newest", "oldest"}},
      {"list_page_size", &Settings::list_page_size, {}},
      {"list_paging", &Settings::list_paging, PagingStyles()},
      {"list_cloud_storage_url", &Settings::list_cloud_storage_url, {}},
      {"access_update_answer", &Settings::access_update_answer, {"200", "empty", "json"}},
      {"weights_bytes", &Settings::weights_bytes, {}},
      {"weights_redirects", &Settings::weights_redirects, {}},
      {"private_weights", &Settings::private_weights, {"model", "all", "none"}},
      {"sign_urls", &Settings::sign_urls, SigningStyles()},
      {"upload_url_seconds", &Settings::upload_url_seconds, {}},
      {"download_url_seconds", &Settings::download_url_seconds, {}},
  };
  return *fields;
}

std::optional<std::string> SetField(const Field& field, const rapidjson::Value& value,
                                    Settings* settings) {
  if (const auto* text = std::get_if<std::string Settings::*>(&field.member)) {
    if (!value.IsString()) return absl::StrCat(field.name, " must be a string");
    bool known = field.choices.empty();
    for (const std::string& choice : field.choices) known = known || choice == value.GetString();
    if (!known) {
      return absl::StrCat(field.name, " does not know ", value.GetString(), "; it knows ",
                          absl::StrJoin(field.choices, ", "));
    }
    if (field.check != nullptr) {
      if (std::optional<std::string> error = field.check(value.GetString())) return error;
    }
    settings->*(*text) = value.GetString();
  } else if (const auto* flag = std::get_if<bool Settings::*>(&field.member)) {
    if (!value.IsBool()) return absl::StrCat(field.name, " must be true or false");
    settings->*(*flag) = value.GetBool();
  } else if (!value.IsNumber() || (value.GetDouble() < 0 && !field.may_be_negative)) {
    return absl::StrCat(field.name, " must be a number",
                        field.may_be_negative ? "" : " of at least 0");
  } else if (const auto* real = std::get_if<double Settings::*>(&field.member)) {
    settings->*(*real) = value.GetDouble();
  } else if (!value.IsInt64()) {
    return absl::StrCat(field.name, " must be a whole number");
  } else {
    settings->*std::get<int64_t Settings::*>(field.member) = value.GetInt64();
  }
  return std::nullopt;
}

std::optional<std::string> SetStages(const rapidjson::Value& value, Settings* settings) {
  if (!value.IsObject()) return "stage_seconds must be an object";
  for (const auto& stage : value.GetObject()) {
    const std::string name = stage.name.GetString();
    if (settings->stage_seconds.count(name) == 0) {
      return absl::StrCat("stage_seconds does not know ", name);
    }
    if (!stage.value.IsNumber() || stage.value.GetDouble() < 0) {
      return absl::StrCat("stage_seconds.", name, " must be a number of at least 0");
    }
    settings->stage_seconds[name] = stage.value.GetDouble();
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> CheckWebhookUrl(std::string_view url) {
  if (url.empty() || IsHttpUrl(url)) return std::nullopt;
  return absl::StrCat("webhook_url must be http://HOST[:PORT]/PATH or https://..., not ",
                      std::string(url));
}

std::optional<std::string> SetByText(std::string_view text, Settings* settings) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return "must be NAME=VALUE";
  const std::string name(text.substr(0, equals));
  const std::string_view value = text.substr(equals + 1);
  Settings changed = *settings;
  // What does not do as JSON may do as a string: 123 is a good key.
  const std::optional<rapidjson::Document> json = ParseJson(value);
  if (json && !ApplySettings(*ParseJson(ObjectText().AddRaw(name, value).Text()), &changed)) {
    *settings = std::move(changed);
    return std::nullopt;
  }
  return ApplySettings(*ParseJson(ObjectText().Add(name, value).Text()), settings);
}

std::optional<std::string> ApplySettings(const rapidjson::Value& object, Settings* settings) {
  if (!object.IsObject()) return "settings must be an object";
  for (const auto& member : object.GetObject()) {
    const std::string name = member.name.GetString();
    std::optional<std::string> error;
    if (name == "stage_seconds") {
      error = SetStages(member.value, settings);
    } else {
      const Field* found = nullptr;
      for (const Field& field : Fields()) {
        if (name == field.name) found = &field;
      }
      error = found != nullptr ? SetField(*found, member.value, settings)
                               : absl::StrCat("there is no setting ", name);
    }
    if (error) return error;
  }
  return std::nullopt;
}

std::string SettingsText(const Settings& settings) {
  ObjectText text;
  for (const Field& field : Fields()) {
    std::visit(
        [&](auto member) {
          using Type = std::decay_t<decltype(settings.*member)>;
          if constexpr (std::is_same_v<Type, bool>) {
            text.AddBool(field.name, settings.*member);
          } else if constexpr (std::is_same_v<Type, std::string>) {
            text.Add(field.name, settings.*member);
          } else {
            text.AddNumber(field.name, static_cast<double>(settings.*member));
          }
        },
        field.member);
  }
  ObjectText stages;
  for (const auto& [name, seconds] : settings.stage_seconds) stages.AddNumber(name, seconds);
  text.AddRaw("stage_seconds", stages.Text());
  return text.Text();
}

}  // namespace finetune::emulator
