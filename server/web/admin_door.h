#pragma once

#include <functional>

#include "absl/status/status.h"
#include "server/base/metrics.h"
#include "server/web/web_door.h"

namespace finetune {

// The operators' door: GET /metrics, /livez, /readyz, and the page, where there is one. Thread-safe
// if the checks are.
class AdminDoor : public WebDoor {
 public:
  // OK, or why not: the message is what the probe's answer says. May take a second.
  using Check = std::function<absl::Status()>;

  // `refresh` brings the metrics that are looked up when asked for up to date. `page`, which
  // outlives this, answers what is asked for beside; null: nothing does.
  AdminDoor(Metrics& metrics, std::function<void()> refresh, Check live, Check ready,
            WebDoor* page = nullptr);

  // Answers everything: no body says anything here.
  std::optional<WebReply> Judge(const WebRequest& request) override { return Take(request); }
  WebReply Take(const WebRequest& request) override;

 private:
  Metrics& metrics_;
  const std::function<void()> refresh_;
  const Check live_;
  const Check ready_;
  WebDoor* const page_;
};

}  // namespace finetune
