#include "tests/emulator/job.h"

#include <cstdio>
#include <ctime>
#include <map>
#include <mutex>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

std::optional<std::string> OrNull(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

std::string WithOverlay(std::string text, const std::string& overlay_json) {
  if (overlay_json.empty()) return text;
  std::optional<rapidjson::Document> document = ParseJson(text);
  const std::optional<rapidjson::Document> overlay = ParseJson(overlay_json);
  if (!document || !overlay || !overlay->IsObject()) return text;
  auto& allocator = document->GetAllocator();
  for (const auto& member : overlay->GetObject()) {
    document->RemoveMember(member.name);
    document->AddMember(rapidjson::Value(member.name, allocator),
                        rapidjson::Value(member.value, allocator), allocator);
  }
  return ToText(*document);
}

uint64_t Mixed(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::string UuidText(uint64_t high, uint64_t low) {
  high = (high & ~0xf000ull) | 0x4000;
  low = (low & ~(3ull << 62)) | (2ull << 62);
  return absl::StrFormat("%08x-%04x-%04x-%04x-%012x", high >> 32, (high >> 16) & 0xffff,
                         high & 0xffff, low >> 48, low & 0xffffffffffff);
}

const std::map<std::string, std::string Job::*>& TextFields() {
  static const auto* const fields = new std::map<std::string, std::string Job::*>{
      {"id", &Job::id},
      {"finetune_id", &Job::finetune_id},
      {"name", &Job::name},
      {"data_source_path", &Job::data_source_path},
      {"instance_prompt", &Job::instance_prompt},
      {"trigger_word", &Job::trigger_word},
      {"base_model", &Job::base_model},
      {"theme", &Job::theme},
      {"train_type", &Job::train_type},
      {"machine_type", &Job::machine_type},
      {"slug", &Job::slug},
      {"source_type", &Job::source_type},
      {"status", &Job::status},
  };
  return *fields;
}

const std::map<std::string, std::optional<std::string> Job::*>& NullableFields() {
  static const auto* const fields = new std::map<std::string, std::optional<std::string> Job::*>{
      {"error_message", &Job::error_message},
      {"cloud_storage_url", &Job::cloud_storage_url},
      {"segmind_model_path", &Job::segmind_model_path},
  };
  return *fields;
}

const std::map<std::string, std::string Job::*>& JsonFields() {
  static const auto* const fields = new std::map<std::string, std::string Job::*>{
      {"advance_parameters", &Job::advance_parameters_json},
      {"model_information", &Job::model_information_json},
      {"details", &Job::details_overlay_json},
      {"list_item", &Job::list_overlay_json},
  };
  return *fields;
}

// As Segmind's own clock, and its taste, have it.
std::string TimestampOf(WallTime time, const Settings& settings) {
  const bool fraction = settings.timestamp_fraction && settings.timestamp_format == "rfc3339";
  return TimestampJson(Shifted(time, settings.clock_offset_seconds),
                       fraction ? "micros" : settings.timestamp_format);
}

bool ParseTime(const std::string& text, WallTime* time) {
  std::tm parts{};
  if (strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) return false;
  *time = std::chrono::system_clock::from_time_t(timegm(&parts));
  return true;
}

std::optional<std::string> ApplyOther(const std::string& name, const rapidjson::Value& value,
                                      Job* job) {
  if (name == "public") {
    if (!value.IsBool()) return "public must be true or false";
    job->is_public = value.GetBool();
  } else if (name == "weights_bytes") {
    if (!value.IsUint64()) return "weights_bytes must be a whole number of at least 0";
    job->weights_bytes = value.GetUint64();
  } else if (name == "created_ts" || name == "updated_ts") {
    if (!value.IsString() ||
        !ParseTime(value.GetString(), name == "created_ts" ? &job->created : &job->updated)) {
      return absl::StrCat(name, " must be a time such as 2025-01-01T00:00:00Z");
    }
  } else {
    return absl::StrCat("a job has no field ", name);
  }
  return std::nullopt;
}

}  // namespace

std::string DetailsText(const Job& job, const Settings& settings) {
  ObjectText text;
  text.Add("id", job.id)
      .Add("finetune_id", job.finetune_id)
      .Add("name", job.name)
      .Add("data_source_path", job.data_source_path)
      .Add("instance_prompt", job.instance_prompt)
      .Add("status", job.status)
      .Add("source_type", job.source_type)
      .Add("base_model", job.base_model)
      .Add("slug", OrNull(job.slug))
      .AddBool("public_model", job.is_public)
      .Add("error_message", job.error_message)
      .Add("cloud_storage_url", job.cloud_storage_url)
      .AddRaw("created_ts", TimestampOf(job.created, settings))
      .AddRaw("updated_ts", TimestampOf(job.updated, settings));
  return WithOverlay(text.Text(), job.details_overlay_json);
}

std::string ListItemText(const Job& job, const Settings& settings) {
  std::string information = job.model_information_json;
  // Where URLs are signed there is one more of them, nested.
  if (!settings.sign_urls.empty() && job.cloud_storage_url) {
    information =
        WithOverlay(information, ObjectText().Add("lora_url", job.cloud_storage_url).Text());
  }
  ObjectText text;
  text.Add("id", job.id)
      .Add("data_source_path", job.data_source_path)
      .Add("name", job.name)
      .Add("status", job.status)
      .Add("error_message", job.error_message)
      .Add("segmind_model_path", job.segmind_model_path)
      .AddRaw("advance_parameters", job.advance_parameters_json)
      .AddBool("segmind_public_model", job.is_public)
      .Add("train_type", OrNull(job.train_type))
      .Add("source_type", job.source_type)
      .Add("base_model", job.base_model)
      .Add("theme", OrNull(job.theme))
      .Add("cloud_storage_url",
           settings.list_cloud_storage_url ? job.cloud_storage_url : std::nullopt)
      .Add("finetune_id", job.finetune_id)
      .AddRaw("model_information", information);
  if (settings.list_timestamps) {
    text.AddRaw("created_ts", TimestampOf(job.created, settings))
        .AddRaw("updated_ts", TimestampOf(job.updated, settings));
  }
  return WithOverlay(text.Text(), job.list_overlay_json);
}

std::string ControlText(const Job& job) {
  ObjectText text;
  for (const auto& [name, member] : TextFields()) text.Add(name, job.*member);
  for (const auto& [name, member] : NullableFields()) text.Add(name, job.*member);
  for (const auto& [name, member] : JsonFields()) {
    text.AddRaw(name, (job.*member).empty() ? "null" : (job.*member));
  }
  text.AddBool("public", job.is_public)
      .AddRaw("weights_bytes", std::to_string(job.weights_bytes))
      .Add("created_ts", TimeText(job.created, true))
      .Add("updated_ts", TimeText(job.updated, true))
      .AddBool("visible",
               job.hidden_lists == 0 && job.visible_at <= std::chrono::steady_clock::now());
  return text.Text();
}

std::string SlugOf(std::string_view id, std::string_view name) {
  std::string slug(id);
  slug += '-';
  for (const char c : name) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
    slug += plain ? absl::ascii_tolower(static_cast<unsigned char>(c)) : '-';
  }
  return slug;
}

std::string NewUuid() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return UuidText(random(), random());
}

std::string UuidOf(uint64_t number) {
  return UuidText(Mixed(number), Mixed(number ^ 0x5bd1e995a5a5a5a5));
}

std::string WeightsUrl(const std::string& public_url, const std::string& id) {
  return absl::StrCat(public_url, "/gcs/segmind-finetuned-models/", id, ".safetensors");
}

std::optional<std::string> ApplyJobFields(const rapidjson::Value& object, Job* job) {
  if (!object.IsObject()) return "a job must be an object";
  for (const auto& member : object.GetObject()) {
    const std::string name = member.name.GetString();
    const rapidjson::Value& value = member.value;
    if (const auto text = TextFields().find(name); text != TextFields().end()) {
      if (!value.IsString()) return absl::StrCat(name, " must be a string");
      job->*(text->second) = std::string(value.GetString(), value.GetStringLength());
    } else if (const auto nullable = NullableFields().find(name);
               nullable != NullableFields().end()) {
      if (!value.IsString() && !value.IsNull()) return absl::StrCat(name, " must be a string");
      job->*(nullable->second) =
          value.IsNull() ? std::nullopt : std::optional<std::string>(value.GetString());
    } else if (const auto json = JsonFields().find(name); json != JsonFields().end()) {
      job->*(json->second) = ToText(value);
    } else if (std::optional<std::string> error = ApplyOther(name, value, job)) {
      return error;
    }
  }
  return std::nullopt;
}

Job PrefilledJob(uint64_t index, const Settings& settings) {
  static constexpr const char* kModels[] = {"FAST_FLUX", "FLUX", "QWEN", "FLUX_PRO"};
  static constexpr const char* kThemes[] = {"subject", "FLUX", "QWEN", "CHARACTER"};
  constexpr int64_t kEpoch = 1735689600;  // 2025-01-01T00:00:00Z
  const uint64_t dice = Mixed(index);
  Job job;
  job.id = UuidOf(index);
  job.finetune_id = settings.distinct_ids ? UuidOf(~index) : job.id;
  job.name = absl::StrFormat("prefilled-%06d", index);
  job.data_source_path =
      absl::StrCat("https://finetune-pipeline.s3.amazonaws.com/uploads/", UuidOf(7), "/",
                   UuidOf(index + (1ull << 40)), "-", job.name, ".zip");
  job.instance_prompt = absl::StrCat("a photo of TOK", index, " in a sunlit room");
  job.trigger_word = absl::StrCat("TOK", index);
  job.base_model = kModels[dice % 4];
  job.theme = kThemes[dice % 4];
  job.train_type = "LORA";
  job.machine_type = "NVIDIA_H100";
  job.slug = SlugOf(job.id, job.name);
  job.is_public = dice % 10 == 3;
  job.advance_parameters_json =
      R"({"steps":2000,"face_crop":false,"finetune_type":"LORA","learning_rate":0.0001,)"
      R"("batch_size":1,"lora_rank":16,"resolution":"512,768,1024","optimizer_type":"adamw8bit"})";
  if (dice % 20 == 7) {
    job.status = "FAILED";
    job.error_message = "Internal Server Error";
  } else {
    job.status = "AVAILABLE";
    job.cloud_storage_url = WeightsUrl(settings.public_url, job.id);
  }
  job.created = WallTime(std::chrono::seconds(kEpoch + static_cast<int64_t>(index) * 60));
  job.updated = job.created + std::chrono::seconds(900);
  return job;
}

}  // namespace finetune::emulator
