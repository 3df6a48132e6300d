#pragma once

#include <optional>
#include <string>

#include "tests/emulator/account.h"
#include "tests/emulator/call_log.h"
#include "tests/emulator/faults.h"
#include "tests/emulator/http.h"
#include "tests/emulator/job_store.h"
#include "tests/emulator/lifecycle.h"
#include "tests/emulator/settings.h"
#include "tests/emulator/storage.h"
#include "tests/emulator/webhooks.h"

namespace finetune::emulator {

// The parts that the control door turns. All must outlive it.
struct ControlledParts {
  LiveSettings* settings;
  Account* account;
  JobStore* jobs;
  FaultBook* faults;
  Webhooks* webhooks;
  Lifecycle* lifecycle;
  ObjectStore* objects;
  CallLog* log;
};

// Everything under /emulator/: what the emulator saw, and how it is to misbehave. Segmind has
// nothing like it. Thread-safe. Owned by main.
class ControlDoor {
 public:
  ControlDoor(ControlledParts parts, Settings initial)
      : parts_(parts), initial_(std::move(initial)) {}

  Answer Handle(const Request& request);
  // {"settings":{...},"faults":[...],"jobs":[...]}. Returns what is wrong with it, or nothing.
  std::optional<std::string> ApplyScenario(std::string_view json);
  // Adds jobs 0 to count - 1 of the pre-filled list.
  void Prefill(uint64_t count);

 private:
  Answer Serve(const Request& request);
  Answer Read(const std::string& what, const Request& request) const;
  Answer Write(const std::string& what, const rapidjson::Value& body);
  Answer JobsText(const Request& request) const;
  Answer WeightsText(const std::string& id) const;
  Answer PostJob(const rapidjson::Value& body);
  Answer ChangeJob(const std::string& id, const rapidjson::Value& body);
  Answer CancelJob(const std::string& id, const rapidjson::Value& body);
  Answer PostFault(const rapidjson::Value& body);
  Answer PostWebhook(const rapidjson::Value& body);
  std::optional<std::string> ChangeSettings(const rapidjson::Value& body);
  void Reset();

  const ControlledParts parts_;
  const Settings initial_;
};

}  // namespace finetune::emulator
