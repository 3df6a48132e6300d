#pragma once

#include "tests/emulator/api_door.h"
#include "tests/emulator/call_log.h"
#include "tests/emulator/control_door.h"
#include "tests/emulator/faults.h"
#include "tests/emulator/http.h"
#include "tests/emulator/job_store.h"
#include "tests/emulator/settings.h"
#include "tests/emulator/storage_door.h"

namespace finetune::emulator {

// Sends each request to its door and lays the faults over the answer. Thread-safe; never blocks:
// how long an answer is to be delayed is written into it. Owned by main; the doors outlive it.
class Router {
 public:
  Router(const LiveSettings* settings, ApiDoor* api, StorageDoor* storage, ControlDoor* control,
         const JobStore* jobs, FaultBook* faults, CallLog* log);

  Answer Handle(const Request& request);

 private:
  Answer Serve(const Request& request);
  Answer Act(const std::string& call, const Request& request, const std::vector<Fault>& faults);
  CallSubject SubjectOf(const std::string& call, const Request& request) const;

  const LiveSettings* const settings_;
  ApiDoor* const api_;
  StorageDoor* const storage_;
  ControlDoor* const control_;
  const JobStore* const jobs_;
  FaultBook* const faults_;
  CallLog* const log_;
};

}  // namespace finetune::emulator
