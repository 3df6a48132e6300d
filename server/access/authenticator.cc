#include "server/access/authenticator.h"

#include <algorithm>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "server/access/caller_use.h"
#include "server/access/peer_address.h"
#include "server/base/mutex.h"

namespace finetune {
namespace {

// Bounds the tables below. Beyond it they are emptied, and machines start from zero again.
constexpr size_t kMostAddresses = 10'000;

class OpenAuthenticator : public Authenticator {
 public:
  absl::StatusOr<Admission> Authenticate(const grpc::ServerContextBase& context,
                                         absl::Time) override {
    // The peer without its port. For IPv4 it is the same for all calls of a machine, and quick to
    // make.
    const std::string peer = context.peer();
    const absl::string_view address(peer.data(), std::min(peer.rfind(':'), peer.size()));
    MutexLock lock(mu_);
    const auto found = by_address_.find(address);
    if (found != by_address_.end()) return found->second;
    if (by_address_.size() >= kMostAddresses) {
      by_address_.clear();
      machines_.clear();
    }
    const std::string machine = MachineOf(peer);
    const auto known = machines_.try_emplace(machine).first;
    if (known->second.caller == nullptr) known->second = Everything(machine);
    return by_address_.emplace(address, known->second).first->second;
  }

 private:
  static Admission Everything(const std::string& machine) {
    return {std::make_shared<const Caller>(Caller{.identity = "",
                                                  .role = Role::kAdmin,
                                                  .sees_all = true,
                                                  .limits = {},
                                                  .use = std::make_shared<CallerUse>(machine)})};
  }

  Mutex mu_;
  absl::flat_hash_map<std::string, Admission> by_address_ ABSL_GUARDED_BY(mu_);
  // The same by machine; a machine may have several addresses.
  absl::flat_hash_map<std::string, Admission> machines_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<Authenticator> MakeOpenAuthenticator() {
  return std::make_unique<OpenAuthenticator>();
}

}  // namespace finetune
