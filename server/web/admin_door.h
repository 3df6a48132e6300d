#pragma once

#include <functional>

#include "absl/status/status.h"
#include "server/base/metrics.h"
#include "server/web/web_door.h"

namespace finetune {

// The operators' door: GET /metrics, /livez, /readyz. Thread-safe if the checks are.
class AdminDoor : public WebDoor {
 public:
  // OK, or why not: the message is what the probe's answer says. May take a second.
  using Check = std::function<absl::Status()>;

  // `refresh` brings the metrics that are looked up when asked for up to date.
  AdminDoor(Metrics& metrics, std::function<void()> refresh, Check live, Check ready);

  // Answers everything: no body says anything here.
  std::optional<WebReply> Judge(const WebRequest& request) override { return Take(request); }
  WebReply Take(const WebRequest& request) override;

 private:
  Metrics& metrics_;
  const std::function<void()> refresh_;
  const Check live_;
  const Check ready_;
};

}  // namespace finetune
