#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tests/emulator/json.h"
#include "tests/emulator/settings.h"
#include "tests/emulator/times.h"

namespace finetune::emulator {

// One fine-tune as Segmind keeps it. Strings named *_json hold JSON text.
struct Job {
  std::string id;
  std::string finetune_id;  // The same as id, unless Settings::distinct_ids.
  std::string name;
  std::string data_source_path;
  std::string instance_prompt;
  std::string trigger_word;
  std::string base_model;
  std::string theme;
  std::string train_type;
  std::string machine_type;
  std::string slug;
  std::string source_type = "AWS_S3";
  std::string status = "REQUESTED";
  bool is_public = false;
  std::optional<std::string> error_message;
  std::optional<std::string> cloud_storage_url;
  std::optional<std::string> segmind_model_path;
  std::string advance_parameters_json = "{}";
  std::string model_information_json = "{}";
  WallTime created;
  WallTime updated;

  // What the control door lays over the two shapes, member by member; empty: nothing.
  std::string details_overlay_json;
  std::string list_overlay_json;
  uint64_t weights_bytes = 0;  // 0: Settings::weights_bytes.

  // Until then the job is neither listed nor found.
  std::chrono::steady_clock::time_point visible_at;
  int64_t hidden_lists = 0;
};

// The two documented shapes; their sets of fields differ.
std::string DetailsText(const Job& job, const Settings& settings);
std::string ListItemText(const Job& job, const Settings& settings);
// Everything the emulator knows, for the control door.
std::string ControlText(const Job& job);

// `{uuid}-{name}` in lower case, with what a URL cannot hold as dashes.
std::string SlugOf(std::string_view id, std::string_view name);

// A random version 4 UUID. Thread-safe.
std::string NewUuid();
// The same for the same number.
std::string UuidOf(uint64_t number);

// Where the job's weights are from TRAINING_COMPLETED on.
std::string WeightsUrl(const std::string& public_url, const std::string& id);

// Sets the fields that `object` names. Returns what is wrong with it, or nothing.
std::optional<std::string> ApplyJobFields(const rapidjson::Value& object, Job* job);

// Job number `index` of a pre-filled list, the same in every run; about 800 bytes in the list.
Job PrefilledJob(uint64_t index, const Settings& settings);

}  // namespace finetune::emulator
