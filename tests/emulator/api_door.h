#pragma once

#include <string>
#include <vector>

#include "tests/emulator/account.h"
#include "tests/emulator/call_log.h"
#include "tests/emulator/faults.h"
#include "tests/emulator/http.h"
#include "tests/emulator/job_store.h"
#include "tests/emulator/lifecycle.h"
#include "tests/emulator/settings.h"
#include "tests/emulator/storage_door.h"

namespace finetune::emulator {

// The name of the API call at `path` (submit, details, ...), or empty.
std::string ApiCallAt(const std::string& path);

// Plays api.segmind.com, as strictly as it is known to be. Thread-safe. Owned by main; what it is
// given must outlive it.
class ApiDoor {
 public:
  ApiDoor(const LiveSettings* settings, Account* account, JobStore* jobs, Lifecycle* lifecycle,
          const StorageDoor* storage, CallLog* log);

  // `faults` are those of this call; only list_delay and other_id matter here.
  Answer Handle(const std::string& call, const Request& request, const std::vector<Fault>& faults);

 private:
  Answer Submit(const Request& request, const std::vector<Fault>& faults);
  // The job as the answer names it.
  Job Announced(const Job& job, const std::vector<Fault>& faults) const;
  Answer Details(const Request& request) const;
  Answer List(const Request& request);
  Answer UploadUrl(const Request& request) const;
  Answer UpdateAccess(const Request& request);
  Answer FileDownload(const Request& request) const;

  const LiveSettings* const settings_;
  Account* const account_;
  JobStore* const jobs_;
  Lifecycle* const lifecycle_;
  const StorageDoor* const storage_;
  CallLog* const log_;
};

}  // namespace finetune::emulator
